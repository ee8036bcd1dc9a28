// The page: a camera or a file, one request, a verdict. Nothing is stored, nothing is asked of other hosts.

const by = (id) => document.getElementById(id);
const SAID = {
  bona_fide: ["yes", "Living face", "Accepted: the score reaches the threshold."],
  attack: ["no", "Presentation attack", "Not accepted: it looks like a print, a screen or a mask. The score stays below the threshold."],
  no_face: ["unsure", "No face found", "Hold your face in the ring, upright and evenly lit, and check again."],
  several_faces: ["unsure", "More than one face", "Only one person may be in the picture."],
  too_small: ["unsure", "Face too small", "Come closer to the camera."],
  low_quality: ["unsure", "Picture not good enough", "Take another picture."],
};
const MARKS = {
  none: "M6 12h12", yes: "M5 12.5l4.5 4.5L19 7.5", no: "M7 7l10 10M17 7L7 17", unsure: "M12 6v7M12 18v.1",
  busy: "M12 4a8 8 0 1 1-8 8",
};
const CAMERA_FAULTS = {
  camera_denied: "The browser denied the camera. Allow it in the browser's settings for this page, or choose a file.",
  no_camera: "No camera was found, or this page is not over HTTPS. Choose a file instead.",
  camera_busy: "The camera is in use by another program.",
};
// The API's messages are for developers; these are for the person in front of the camera.
const REFUSALS = {
  unauthorized: () => "This server asks for its key. Enter it below the picture, then try again.",
  too_large: (limits) => `That is more than the ${+(limits.bytes / 1e6).toFixed(1)} MB that this server takes.`,
  too_many_pixels: () => "The picture has more pixels than this server takes. Choose a smaller one.",
  too_long: (limits) => `The video is longer than this server takes: up to ${limits.seconds} seconds. Choose a shorter one.`,
  too_many_files: (limits) => `Choose one image, one video, or up to ${limits.files} images.`,
  unsupported_format: () => "Choose JPEG, PNG or WebP images, or one MP4, WebM or MOV video.",
  unreadable: () => "The file is damaged, or holds no picture. Choose another.",
  empty: () => "The file is empty. Choose another.",
  busy: () => "The server is busy. Wait a moment, then try again.",
  unreachable: () => "The server cannot be reached. Try again in a moment.",
  too_slow: () => "The connection is too slow. Try again.",
  timeout: () => "It took too long. Try again.",
};

let model = null;
let stream = null;
let shown = null;
let guiding = null;

const server = () => ({ key: by("key").value.trim(), waiting: (seconds) =>
  say("busy", "Busy", `Many are asking at once. Asking again in ${seconds} s.`) });

async function showModel() {
  try {
    model = await bonaface.model(server());
  } catch (error) {
    if (error.code === "unauthorized") by("key-row").hidden = false;
    return;
  }
  by("model").textContent = model.name;
  by("key-row").hidden = !model.key_required;
  const warnings = new Set(Object.values(model.operating_points).flatMap((point) => point.warnings));
  by("about").hidden = !warnings.size;
  by("warnings").replaceChildren(...[...warnings].map((text) => element("li", text)));
}

function element(name, text = "", attributes = {}) {
  const made = name.startsWith("svg:") ? document.createElementNS("http://www.w3.org/2000/svg", name.slice(4)) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== "") made.textContent = text;
  return made;
}

function say(tone, outcome, advice, spoken = "") {
  by("verdict").dataset.tone = by("stage").dataset.tone = tone;
  by("verdict").querySelector("path").setAttribute("d", MARKS[tone]);
  by("outcome").textContent = outcome;
  by("advice").textContent = advice;
  by("spoken").textContent = spoken;
}

function show(mode) {
  by("stage").dataset.mode = mode;
  by("start").hidden = mode === "camera";
  by("check").hidden = by("stop").hidden = mode !== "camera";
  by("hint").textContent = mode === "camera" ? "Hold your face in the ring" : "";
}

async function startCamera() {
  by("start").disabled = true;
  try {
    stream = await bonaface.openCamera(by("camera"));
    stream.getVideoTracks()[0].addEventListener("ended", loseCamera);
    show("camera");
    say("none", "Ready", "Press Check: a second of pictures is taken and scored.");
    by("details").hidden = true;
    by("check").focus();
    guide();
  } catch (error) {
    stopTracks();
    say("unsure", "No camera", CAMERA_FAULTS[error.code] ?? "The camera could not be started. Choose a file instead.");
  } finally {
    by("start").disabled = false;
  }
}

// Says in the ring what to do, until the camera stops or a check begins.
async function guide() {
  if (model?.detector === "whole_frame") return;
  guiding = new AbortController();
  const hint = (name, text) => {
    by("hint").textContent = name === "ready" ? "Good. Press Check" : text;
  };
  const options = { ...server(), waiting: () => {}, signal: guiding.signal };
  await bonaface.guide(by("camera"), hint, options).catch(() => (by("hint").textContent = ""));
}

function stopTracks() {
  guiding?.abort();
  stream?.getTracks().forEach((track) => track.stop());
  stream = null;
  by("camera").srcObject = null;
}

function loseCamera() {
  stopTracks();
  show("empty");
  say("unsure", "No camera", "The camera stopped. Start it again, or choose a file.");
}

function stopCamera() {
  stopTracks();
  show("empty");
  by("start").focus();
}

async function check() {
  await working(async () => {
    guiding?.abort();
    by("hint").textContent = bonaface.HINTS.ready;
    say("busy", "Looking", "A second of pictures is taken.");
    const progress = by("ring").querySelector(".progress");
    const files = await bonaface.burst(by("camera"), model, {
      progress: (share) => (progress.style.strokeDasharray = `${100 * share} ${100 - 100 * share}`) });
    by("hint").textContent = "";
    await submit(files);
  });
  if (stream) guide();
}

async function useFiles(files) {
  if (!files.length) return;
  stopTracks();
  if (shown) URL.revokeObjectURL(shown);
  shown = URL.createObjectURL(files[0]);
  const moving = files[0].type.startsWith("video/");
  by("clip").src = moving ? shown : "";
  by("picture").src = moving ? "" : shown;
  show(moving ? "clip" : "picture");
  await working(() => submit(files));
}

async function working(task) {
  const buttons = [...document.querySelectorAll("button, #file")];
  buttons.forEach((button) => (button.disabled = true));
  by("stage").classList.add("busy");
  try {
    await task();
  } catch {
    say("unsure", "Not scored", "The picture could not be taken. Try again.");
  } finally {
    by("stage").classList.remove("busy");
    by("ring").querySelector(".progress").style.strokeDasharray = "0 100";
    buttons.forEach((button) => (button.disabled = false));
    if (!by("check").hidden && document.activeElement !== by("key")) by("check").focus();
  }
}

async function submit(files) {
  by("details").hidden = true;
  const bytes = [...files].reduce((sum, file) => sum + file.size, 0);
  if (bytes > (model?.limits.bytes ?? Infinity)) {
    say("unsure", "Not scored", REFUSALS.too_large(model.limits));
    return;
  }
  say("busy", "Judging", files.length > 1 ? `${files.length} pictures were sent.` : "The file was sent.");
  const begun = performance.now();
  try {
    showVerdict(await bonaface.send(files, { ...server(), model }), (performance.now() - begun) / 1000);
  } catch (error) {
    if (!(error instanceof bonaface.BonafaceError)) throw error;
    showRefusal(error);
  }
}

function showRefusal(error) {
  if (error.code === "unauthorized") {
    by("key-row").hidden = false;
    by("key").focus();
  }
  const words = model || !/limits/.test(REFUSALS[error.code]) ? REFUSALS[error.code] : null;
  const advice = words ? words(model?.limits) : error.message;
  const title = { busy: "Busy", unreachable: "No answer" }[error.code] ?? "Not scored";
  say("unsure", title,
    error.code === "internal" ? `${advice} Request ${error.requestId}.` : advice);
}

function showVerdict(result, roundTrip) {
  const [tone, outcome, advice] = SAID[result.verdict];
  const scored = result.score !== null;
  by("scores").hidden = !scored;
  if (scored) {
    const gauge = by("gauge");
    gauge.dataset.accepted = result.accepted;
    gauge.querySelector(".fill").style.width = `${100 * result.score}%`;
    gauge.querySelector(".limit").style.left = `${100 * result.threshold}%`;
    gauge.setAttribute("aria-label", `Score ${figure(result.score)}, threshold ${figure(result.threshold)}, on a scale from 0 to 1`);
    by("score").textContent = figure(result.score);
    by("compared").textContent = `${result.accepted ? "≥" : "<"} threshold ${figure(result.threshold)}`;
  }
  by("frame-count").textContent = `${result.frames.filter((frame) => frame.status === "ok").length} of ${result.frames.length} scored`;
  drawTrace(result);
  by("rows").replaceChildren(...result.frames.map((frame) => {
    const row = element("tr");
    row.append(element("td", frame.frame), element("td", frame.time === null ? "–" : `${frame.time.toFixed(2)} s`),
      element("td", frame.score === null ? "–" : figure(frame.score)), element("td", frame.status.replace("_", " ")));
    return row;
  }));
  const stages = { ...result.seconds, transfer: Math.max(roundTrip - result.seconds.total, 0) };
  by("times").replaceChildren(...Object.entries(stages).filter(([stage]) => stage !== "total").map(([stage, seconds]) => {
    const pair = element("div");
    pair.append(element("dt", stage), element("dd", milliseconds(seconds)));
    return pair;
  }));
  by("total").textContent = `${milliseconds(roundTrip)} in all`;
  by("note").textContent = result.reason;
  by("request").textContent = result.request_id;
  by("bundle").textContent = result.bundle;
  by("details").hidden = false;
  by("before").hidden = true;
  say(tone, outcome, result.findings[0]?.advice ?? advice, scored ? `Score ${figure(result.score)}, threshold ${figure(result.threshold)}.` : "");
  by("verdict").scrollIntoView({ block: "nearest" });
}

function drawTrace(result) {
  const left = 26, right = 314, top = 8, bottom = 92;
  const across = (index) => result.frames.length < 2 ? (left + right) / 2 : left + 8 + (index * (right - left - 16)) / (result.frames.length - 1);
  const up = (score) => bottom - score * (bottom - top);
  const parts = [0, 0.5, 1].flatMap((score) => [
    element("svg:line", "", { class: "grid", x1: left, x2: right, y1: up(score), y2: up(score) }),
    element("svg:text", score, { x: left - 5, y: up(score) + 3.5, "text-anchor": "end" })]);
  const points = result.frames.map((frame, index) => [across(index), frame]).filter(([, frame]) => frame.score !== null);
  parts.push(element("svg:polyline", "", { class: "line", points: points.map(([x, frame]) => `${x},${up(frame.score)}`).join(" ") }));
  parts.push(element("svg:line", "", { class: "limit", x1: left, x2: right, y1: up(result.threshold), y2: up(result.threshold) }));
  result.frames.forEach((frame, index) => {
    const x = across(index);
    if (frame.score === null) parts.push(element("svg:path", "", { class: "gone", d: `M${x - 3} ${bottom - 3}l6 -6m0 6l-6 -6` }));
    else parts.push(element("svg:circle", "", { class: frame.score >= result.threshold ? "yes" : "no", cx: x, cy: up(frame.score), r: 4 }));
  });
  const last = result.frames[result.frames.length - 1];
  parts.push(element("svg:text", "first frame", { x: left, y: 106 }));
  parts.push(element("svg:text", last.time === null ? "last frame" : `${last.time.toFixed(2)} s`, { x: right, y: 106, "text-anchor": "end" }));
  by("trace").replaceChildren(...parts);
}

const figure = (value) => value.toFixed(3);
const milliseconds = (seconds) => `${(1000 * seconds).toFixed(seconds < 0.01 ? 1 : 0)} ms`;

by("start").addEventListener("click", startCamera);
by("stop").addEventListener("click", stopCamera);
by("check").addEventListener("click", check);
by("key").addEventListener("change", showModel);
by("file").addEventListener("change", async (event) => {
  const files = [...event.target.files];
  event.target.value = "";
  await useFiles(files);
});
for (const kind of ["dragenter", "dragover"]) {
  document.addEventListener(kind, (event) => {
    event.preventDefault();
    by("stage").classList.add("over");
  });
}
document.addEventListener("dragleave", (event) => event.relatedTarget ?? by("stage").classList.remove("over"));
document.addEventListener("drop", async (event) => {
  event.preventDefault();
  by("stage").classList.remove("over");
  if (!by("stage").classList.contains("busy")) await useFiles([...event.dataTransfer.files]);
});
addEventListener("pagehide", stopTracks);
showModel();
