// Bonaface in a page: bonaface.capture(element, options) -> Promise<verdict>. Nothing is stored, no other host is asked.
//
//   <script src="https://liveness.example.org/static/bonaface.js"></script>
//   const verdict = await bonaface.capture(document.querySelector("#camera"));
//   if (verdict.accepted) ...
//
// A site that is not the server's own must be named there: bonaface serve ... --allow-origin https://this.example
// A verdict that reaches the browser can be changed in it: where it decides, ask the server from your back end.
"use strict";

window.bonaface = (() => {
  const HOME = new URL("..", document.currentScript.src).href;
  const BURST_MS = 1000;
  const BURST_MOST = 16;
  const BURST_LATEST_MS = 5000; // after it the pictures are taken without waiting for new ones
  const ASK_AGAIN = 3;
  const LOOK_MS = 400;
  const LOOK_SIDE = 320;
  const ADVICE_LATER = new Set(["busy", "timeout", "too_slow", "unreachable"]); // the advice can wait, the person need not
  const HINTS = {
    no_face: "Hold your face in front of the camera",
    several_faces: "Only one person, please",
    too_far: "Come closer",
    too_near: "Move back a little",
    off_centre: "Move your face to the middle",
    dark: "Find more light",
    bright: "Too bright: turn away from the light",
    blurred: "Hold still, and wipe the camera if it stays blurred",
    ready: "Hold still",
  };
  const LIMITS = {
    far: 0.25, near: 0.9, // height of the face, as a share of the picture's
    off: 0.2, // distance of its centre from the picture's, as a share of width and height
    dark: 50, bright: 215, // mean brightness of the face, of 255
    blurred: 0.025, // mean difference of neighbouring pixels in the face, as a share of its mean brightness
  };

  class Refused extends Error {
    constructor(code, message, requestId = "") {
      super(message);
      Object.assign(this, { name: "BonafaceError", code, requestId });
    }
  }

  const wait = (ms, signal) => new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const end = () => { clearTimeout(timer); reject(signal.reason); };
    const timer = setTimeout(() => { signal?.removeEventListener("abort", end); resolve(); }, Math.max(ms, 0));
    signal?.addEventListener("abort", end, { once: true });
  });

  async function ask(path, options, { server = HOME, key = "", signal, waiting = () => {} } = {}) {
    const headers = { ...options.headers, ...(key ? { "X-API-Key": key } : {}) };
    for (let left = ASK_AGAIN; ; left--) {
      let answer;
      try {
        answer = await fetch(new URL(path, server.replace(/\/?$/, "/")), { ...options, headers, signal });
      } catch (error) {
        signal?.throwIfAborted();
        throw new Refused("unreachable", "The server cannot be reached, or does not allow this site (--allow-origin).");
      }
      if (answer.status === 429 && left) {
        const seconds = Number(answer.headers.get("Retry-After")) || 1;
        waiting(seconds);
        await wait(1000 * seconds * (1 + Math.random() / 4), signal);
        continue;
      }
      const result = await answer.json().catch(() => {
        throw new Refused("unreachable", `The answer is not one of this server (status ${answer.status}).`);
      });
      if (!answer.ok) throw new Refused(result.error.code, result.error.message, result.error.request_id);
      return result;
    }
  }

  // What the server serves: its limits, its thresholds, whether it requires a key or sessions.
  const model = (options) => ask("v1/model", {}, options);

  // Sends files (one image, one video, or the images of a burst) and returns the verdict.
  async function send(files, options = {}) {
    const form = new FormData();
    for (const file of files) form.append("file", file, "file");
    const known = options.model ?? await model(options);
    const session = known.session_required && !options.session
      ? (await ask("v1/sessions", { method: "POST" }, options)).token : options.session;
    return ask("v1/liveness", { method: "POST", body: form, headers: session ? { "X-Session": session } : {} }, options);
  }

  async function openCamera(video, { facingMode = "user" } = {}) {
    if (!navigator.mediaDevices?.getUserMedia) {
      throw new Refused("no_camera", "Browsers give the camera to pages over HTTPS or on localhost alone.");
    }
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({
        audio: false, video: { facingMode, width: { ideal: 1280 }, height: { ideal: 720 } } });
    } catch (error) {
      const code = { NotAllowedError: "camera_denied", NotFoundError: "no_camera", NotReadableError: "camera_busy" }[error.name];
      throw new Refused(code ?? "no_camera", error.message);
    }
    try {
      video.srcObject = stream;
      await video.play();
    } catch (error) {
      stream.getTracks().forEach((track) => track.stop());
      throw new Refused("no_camera", error.message);
    }
    return stream;
  }

  function drawn(video, side = Infinity) {
    const canvas = document.createElement("canvas");
    const factor = Math.min(1, side / Math.max(video.videoWidth, video.videoHeight));
    canvas.width = Math.round(video.videoWidth * factor);
    canvas.height = Math.round(video.videoHeight * factor);
    canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
    return canvas;
  }

  const jpeg = (canvas) => new Promise((resolve, reject) =>
    canvas.toBlob((blob) => (blob ? resolve(blob) : reject(new Error("no picture"))), "image/jpeg", 0.92));

  // Waits for the camera's next picture, for `ms` at most: no picture of a slow camera is taken twice.
  const nextPicture = (video, ms, signal) => Promise.race([
    new Promise((resolve) => (video.requestVideoFrameCallback ? video.requestVideoFrameCallback(resolve) : resolve())),
    wait(ms, signal)]);

  // Takes the pictures of a second from a playing camera, of more where it is slow.
  async function burst(video, known, { progress = () => {}, signal } = {}) {
    const count = Math.min(known?.operating_points.video.frames ?? 8, known?.limits.files ?? BURST_MOST, BURST_MOST);
    const begun = performance.now();
    const pictures = [];
    for (let number = 0; number < count; number++) {
      await wait(begun + (number * BURST_MS) / Math.max(count - 1, 1) - performance.now(), signal);
      await nextPicture(video, begun + BURST_LATEST_MS - performance.now(), signal);
      pictures.push(jpeg(drawn(video)));
      progress((number + 1) / count);
    }
    return Promise.all(pictures);
  }

  // Light and sharpness of a face, from its pixels.
  function measured(canvas, [x, y, width, height]) {
    const left = Math.max(Math.round(x), 0), top = Math.max(Math.round(y), 0);
    const right = Math.min(Math.round(x + width), canvas.width), bottom = Math.min(Math.round(y + height), canvas.height);
    if (right - left < 2 || bottom - top < 2) return { brightness: 0, detail: 0 };
    const { data } = canvas.getContext("2d").getImageData(left, top, right - left, bottom - top);
    const across = right - left;
    const grey = new Float32Array(data.length / 4);
    for (let i = 0; i < grey.length; i++) grey[i] = 0.299 * data[4 * i] + 0.587 * data[4 * i + 1] + 0.114 * data[4 * i + 2];
    let sum = 0, steps = 0;
    for (let i = 0; i < grey.length; i++) {
      sum += grey[i];
      if ((i + 1) % across) steps += Math.abs(grey[i + 1] - grey[i]);
    }
    return { brightness: sum / grey.length, detail: steps / Math.max(sum, 1) };
  }

  // Looks once and says what the person should do: a name of HINTS, `ready` where nothing is wrong.
  async function look(video, options) {
    const canvas = drawn(video, LOOK_SIDE);
    const form = new FormData();
    form.append("file", await jpeg(canvas), "file");
    const { faces, box, width, height } = await ask("v1/face", { method: "POST", body: form }, options);
    if (!box) return "no_face";
    if (faces > 1) return "several_faces";
    const [x, y, w, h] = box;
    if (h < LIMITS.far * height) return "too_far";
    if (h > LIMITS.near * height) return "too_near";
    if (Math.abs(x + w / 2 - width / 2) > LIMITS.off * width || Math.abs(y + h / 2 - height / 2) > LIMITS.off * height) return "off_centre";
    const { brightness, detail } = measured(canvas, box);
    if (brightness < LIMITS.dark) return "dark";
    if (brightness > LIMITS.bright) return "bright";
    if (detail < LIMITS.blurred) return "blurred";
    return "ready";
  }

  // Looks again and again until `stop` is aborted; `hint(name, text)` is called when the advice changes.
  async function guide(video, hint, options = {}) {
    let last = "";
    while (!options.signal?.aborted) {
      const name = await look(video, options).catch((error) => {
        if (!ADVICE_LATER.has(error.code)) throw error;
        return last;
      });
      if (name && name !== last) hint(name, HINTS[name]);
      last = name;
      if (name === "ready" && options.once) return;
      await wait(LOOK_MS, options.signal);
    }
  }

  // Shows the camera in an element, guides the person, takes a second of pictures and resolves to the verdict.
  // Options: server, key, session, facingMode, hint(name, text), patience (ms until it is tried as it is), signal.
  async function capture(element, options = {}) {
    const video = document.createElement("video");
    Object.assign(video, { muted: true, playsInline: true });
    video.style.cssText = "display:block;max-width:100%;max-height:70vh;transform:scaleX(-1)";
    const line = document.createElement("p");
    line.setAttribute("role", "status");
    element.append(video, line);
    const hint = options.hint ?? ((_, text) => (line.textContent = text));
    const stop = new AbortController();
    const end = () => stop.abort(options.signal?.reason);
    options.signal?.addEventListener("abort", end, { once: true });
    let stream;
    try {
      options.signal?.throwIfAborted();
      const known = await model(options);
      stream = await openCamera(video, options);
      const signal = stop.signal;
      const late = wait(options.patience ?? 20000, signal).catch(() => {});
      if (known.detector !== "whole_frame") {
        await Promise.race([guide(video, hint, { ...options, signal, once: true, waiting: () => {} }), late]);
      }
      stop.abort();
      options.signal?.throwIfAborted();
      hint("ready", HINTS.ready);
      const pictures = await burst(video, known, { signal: options.signal });
      return await send(pictures, { ...options, model: known });
    } finally {
      stop.abort();
      options.signal?.removeEventListener("abort", end);
      stream?.getTracks().forEach((track) => track.stop());
      video.remove();
      line.remove();
    }
  }

  return { capture, send, model, openCamera, burst, guide, HINTS, BonafaceError: Refused };
})();
