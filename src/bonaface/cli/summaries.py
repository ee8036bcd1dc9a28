"""Format the result of each command as lines of text."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from bonaface.data.audit.findings import Audit
    from bonaface.evaluation.results import Evaluation
    from bonaface.inference.bundle import Bundle
    from bonaface.types import Threshold
    from bonaface.workflows.compare import Compared
    from bonaface.workflows.cross_validate import Folded
    from bonaface.workflows.demo import Demonstrated
    from bonaface.workflows.embed import Embedded
    from bonaface.workflows.evaluate import Evaluated
    from bonaface.workflows.explain import Explained
    from bonaface.workflows.export import Exported
    from bonaface.workflows.operating_points import Assessment
    from bonaface.workflows.prepare import Cropped, Indexed
    from bonaface.workflows.report import Reported
    from bonaface.workflows.train import Run


def evaluation_lines(evaluation: Evaluation, title: str) -> Iterator[str]:
    """Yield the five lines of the published baseline at each threshold, then the error of each species."""
    from bonaface.evaluation.iso30107 import published_summary

    auc = f"  AUC: {evaluation.ranking.auc}"
    for number, measures in enumerate(evaluation.at):
        if number:
            yield ""
        yield f"{title}, {threshold(measures.point)}"
        yield from published_summary(measures).split("\n")
        for name, rate in measures.apcer.items():
            yield f"  APCER {name}: {rate}"
        yield f"  BPCER: {measures.bpcer}"
        yield auc
        failed = measures.counts.failed_bona_fide + measures.counts.failed_attacks
        if failed:
            reasons = ", ".join(f"{count} {status}" for status, count in measures.counts.failures.items())
            counted = "counted as not accepted" if measures.policy == "reject" else "left out"
            yield f"  without a score: {failed} of {measures.counts.presentations} ({reasons}), {counted}"
    if not evaluation.at:
        yield f"{title}, no threshold"
        yield auc


def assessment_lines(assessment: Assessment) -> Iterator[str]:
    """Each kind of input, and the notes."""
    for number, (kind, evaluation) in enumerate(assessment.evaluations.items()):
        if number:
            yield ""
        yield from evaluation_lines(evaluation, assessment.titles[kind])
    if assessment.notes:
        yield ""
    yield from _notes(assessment.notes)


def report_lines(reported: Reported) -> Iterator[str]:
    """The figures, each species, and where the report lies."""
    yield from evaluation_lines(reported.evaluation, "presentations")
    yield ""
    yield from _notes(reported.notes)
    yield f"report: {reported.path}"


def evaluate_lines(evaluated: Evaluated) -> Iterator[str]:
    """The figures, and where the report lies."""
    yield from assessment_lines(evaluated.assessment)
    yield f"scores: {evaluated.path / 'scores.csv'}"
    yield f"report: {evaluated.report}"


def compare_lines(compared: Compared) -> Iterator[str]:
    """Yield each system's figures, then every difference with its interval and whether it is real."""
    from bonaface.report.formatting import MEASURE_NAMES, number, score
    from bonaface.report.formatting import difference as points
    from bonaface.types import percent

    found = compared.comparison
    yield f"{found.presentations} presentations of {found.persons} persons"
    yield ""
    width = max(6, *(len(name) for name in found.evaluations))
    yield f"{'system':<{width}}  {'threshold':>12}  {'HTER':>8}  {'APCER max':>10}  {'BPCER':>8}  {'AUC':>7}"
    for name, evaluation in found.evaluations.items():
        at = evaluation.at[0]
        yield (
            f"{name:<{width}}  {score(at.point.threshold):>12}  {percent(at.hter.value):>8}  "
            f"{percent(at.apcer_max.value):>10}  {percent(at.bpcer.value):>8}  {number(evaluation.ranking.auc.value):>7}"
        )
    yield ""
    yield "differences (second minus first), paired over persons, with 95 % interval:"
    for item in found.differences:
        what = f"  {MEASURE_NAMES[item.measure]:<21} {item.first} → {item.second}"
        if math.isnan(item.p):
            yield f"{what}: not known ({item.reason})"
            continue
        unit = "" if item.measure == "auc" else " points"
        interval = f"{points(item.low, item.measure)} to {points(item.high, item.measure)}"
        verdict = f"real: {item.better} is better" if item.real else "may be chance"
        yield f"{what}: {points(item.value, item.measure)}{unit} ({interval}), p {item.p_holm:.3g}: {verdict}"
    yield from _notes(compared.notes)
    if compared.path:
        yield f"report: {compared.path}"


def run_lines(run: Run) -> Iterator[str]:
    """The test figures, and where everything lies."""
    if run.stopped == "interrupted":
        yield "interrupted; resume with the same command and --resume"
        yield f"run: {run.path}"
        return
    if run.assessment:
        yield from assessment_lines(run.assessment)
    yield from _notes(note for note in run.notes if not run.assessment or note not in run.assessment.notes)
    yield f"bundle: {run.bundle}"
    yield f"report: {run.report}"


def demo_lines(done: Demonstrated) -> Iterator[str]:
    """The figures with their warning, where everything lies, and what to do next."""
    if done.run.bundle is None:
        yield "interrupted; the same command starts the demo again"
        yield f"demo: {done.path}"
        return
    yield from run_lines(done.run)
    yield f"pictures: {done.path / 'explain'}"
    yield f"map: {done.path / 'embed' / 'embedding.png'}"
    yield ""
    yield "On your own videos, in folders such as live/PERSON/ and print/PERSON/:"
    yield "  bonaface data index FOOTAGE -o manifest.csv"
    yield "  bonaface data split manifest.csv"
    yield "  bonaface train default data.manifest=manifest.csv -o run"
    bundle, manifest = done.path / "run" / "bundle", done.path / "manifest.csv"
    yield f"Or score more with this bundle: bonaface evaluate {bundle} {manifest} -o scores"


def folds_lines(folded: Folded) -> Iterator[str]:
    """A line for each fold, then mean and standard deviation over the folds."""
    from bonaface.workflows.cross_validate import MEASURES

    names = {"apcer_max": "APCER max", "acer_max": "ACER max"}
    head = "".join(f"{names.get(name, name.upper()):>17}" for name in MEASURES)
    for kind in folded.table["kind"].unique():
        part = folded.table[folded.table["kind"] == kind]
        width = max(24, *(len(name) for name in part["fold"]))
        yield f"{kind}, threshold from each fold's validation"
        yield f"{'':<{width}}{head}"
        for row in part.to_dict("records"):
            yield f"{row['fold']:<{width}}" + "".join(f"{_measure(row[name], str(name)):>17}" for name in MEASURES)
        if len(part) > 1:
            mean, sd = part[list(MEASURES)].mean(), part[list(MEASURES)].std(ddof=1)
            cells = (f"{_measure(mean[name], name)} ± {_measure(sd[name], name)}" for name in MEASURES)
            yield f"{f'mean ± sd of {len(part)} folds':<{width}}" + "".join(f"{cell:>17}" for cell in cells)
        yield ""
    yield f"runs and folds.csv: {folded.path}"


def export_lines(exported: Exported) -> Iterator[str]:
    """What the bundle holds, how it was checked and where it lies."""
    from bonaface.inference.model_card import describe

    parity = exported.parity
    yield from describe(exported.bundle.card)
    yield (
        f"compared with torch on {parity['crops']:.0f} crops: probabilities differ by at most "
        f"{parity['max_probability_difference']:.2g}, logits by {parity['max_logit_difference']:.2g} "
        f"of a range of {parity['logit_range']:.3g}"
    )
    yield f"bundle {exported.bundle.id}: {exported.path}"


def explain_lines(explained: Explained) -> Iterator[str]:
    """A line for each presentation, and where the pictures are."""
    for verdict in explained.verdicts:
        yield f"{verdict.source}: {verdict.outcome}, {verdict.describe()}"
    yield f"pictures: {len(explained.pictures)} in {explained.path}"


def embed_lines(embedded: Embedded) -> Iterator[str]:
    """How many presentations are on the map, and where it is."""
    yield f"{len(embedded.coordinates)} presentations on the map"
    yield f"plot: {embedded.plot}"
    yield f"coordinates: {embedded.table}"


def calibrate_lines(bundle: Bundle) -> Iterator[str]:
    """Each threshold, what chose it and its errors there."""
    from bonaface.types import percent

    for kind, point in bundle.card.operating_points.items():
        on = point.chosen_on
        rates = [f"{name.upper()} {percent(on[name])}" for name in ("far", "frr") if name in on]
        errors = f", validation {', '.join(rates)}" if rates else ""
        yield f"{kind}: threshold {point.threshold:.4f} ({point.criterion}){errors}"
        yield from (f"  note: {warning}" for warning in point.warnings)
    yield f"bundle: {bundle.path}, {bundle.id}"


def threshold(point: Threshold) -> str:
    """Return a threshold and its criterion; its logit too where the probability alone says little.

    >>> from bonaface.types import Threshold
    >>> threshold(Threshold(0.4892, -0.0432, "eer")), threshold(Threshold(0.9999939, 12.0, "eer"))
    ('threshold 0.4892 (eer)', 'threshold 1 − 6.1e−06, logit 12.000 (eer)')
    """
    from bonaface.report.formatting import number, score

    logit = ""
    if point.logit_threshold is not None and not 1e-4 <= point.threshold < 1 - 1e-4:
        logit = f", logit {number(point.logit_threshold, places=3)}"
    return f"threshold {score(point.threshold)}{logit} ({point.criterion})"


def _notes(notes: Iterable[str]) -> Iterator[str]:
    return (f"note: {note}" for note in notes)


def _measure(value: float, name: str) -> str:
    from bonaface.report.formatting import number
    from bonaface.types import percent

    return number(value) if name == "auc" else percent(value, unit=False)


def index_lines(indexed: Indexed) -> Iterator[str]:
    """Yield what is in a manifest: counts, splits, notes, hints, unreadable files, and where it was written."""
    from bonaface.workflows.prepare import count_persons, counts_line

    manifest = indexed.manifest
    yield counts_line(manifest)
    for name in ("train", "val", "test"):
        part = manifest.where(name).table
        if len(part):
            labels = part["label"].value_counts()
            attacks = labels.get("attack", 0)
            yield (
                f"  {name:<5} {len(part)} presentations, {labels.get('bona_fide', 0)} bona fide and "
                f"{attacks} attack{'' if attacks == 1 else 's'}: {count_persons(part)}"
            )
    if not manifest.persons_known and not any(note.startswith("persons are unknown") for note in manifest.notes):
        yield "persons: presentations of unknown persons cannot be checked for persons in two splits"
    left_out = manifest.about.get("left_out")
    if isinstance(left_out, Mapping) and any(left_out.values()):
        yield "left out: " + ", ".join(f"{count} {what}" for what, count in left_out.items() if count)
    yield from (f"note: {note}" for note in manifest.notes)
    yield from (f"hint: {hint}" for hint in indexed.hints)
    if indexed.unreadable is not None:
        yield f"unreadable: {len(indexed.unreadable)} of {len(manifest)}"
        for path, reason in indexed.unreadable[["path", "reason"]].to_numpy(dtype=str).tolist():
            yield f"  {path}: {reason}"
    if indexed.path:
        yield f"written: {indexed.path}"


def crop_lines(cropped: Cropped) -> Iterator[str]:
    """Yield how many frames are stored, and every presentation without one, with the reason."""
    table, unusable = cropped.store.table, cropped.store.unusable
    usable, total = int((table["status"] == "ok").sum()), len(cropped.manifest)
    yield f"{usable} of {len(table)} frames of {total} presentations have a face, stored in {cropped.path}"
    if len(unusable):
        yield f"without a usable frame: {len(unusable)} of {total} presentations"
        for path, status, reason in unusable[["path", "status", "reason"]].to_numpy(dtype=str).tolist():
            yield f"  {path}: {status}" + (f" ({reason})" if reason else "")
    yield from (f"note: {path}: {note}" for path, note in cropped.store.notes.items())


def audit_lines(found: Audit) -> Iterator[str]:
    """Yield everything that an audit found; long lists are cut."""
    from bonaface.workflows.prepare import counts_line

    yield counts_line(found.manifest)
    yield f"verdict: {found.verdict}"
    yield from (f"note: {note}" for note in found.notes)
    persons = [f"{leak.subject} in {' and '.join(leak.splits)}" for leak in found.persons]
    yield from _listed("subjects in more than one split", persons)
    for title, pairs in (
        ("the same content in two splits", found.of_level("leak")),
        ("the same content under two names", found.of_level("warning")),
        ("the same content twice, with no known difference in subject or label", found.of_level("remark")),
    ):
        shown = [f"{pair.paths[0]} = {pair.paths[1]}: {pair.how}" + f" ({pair.why})" * bool(pair.why) for pair in pairs]
        yield from _listed(title, shown)
    yield from _listed("unreadable", [f"{fact.path}: {fact.reason}" for fact in found.unreadable])
    yield from _listed("incomplete", [f"{fact.path}: {fact.note}" for fact in found.damaged])
    yield from _listed(f"without a face ({found.detector})", [fact.path for fact in found.faceless])
    biases = [f"{bias.dataset or '(none)'}: {bias.what}, {bias.direction}" for bias in found.datasets]
    yield from _listed("datasets that reveal the class", biases)
    yield ""
    yield from _balance_lines(found.balance)
    yield ""
    yield from _shortcut_lines(found)
    if found.folder is not None:
        yield f"written: {found.folder / 'audit.html'}, {found.folder / 'audit.json'}"


def _listed(title: str, items: Sequence[str]) -> Iterator[str]:
    if items:
        yield f"{title}: {len(items)}"
        yield from (f"  {item}" for item in items[:10])
        if len(items) > 10:
            yield f"  and {len(items) - 10} more"


def _balance_lines(balance: pd.DataFrame) -> Iterator[str]:
    """Presentations, and subjects after a slash."""
    splits = [name for name in balance.columns[2:] if not name.endswith("_subjects")]
    width = max((len(str(value)) for value in balance["value"]), default=0) + 12
    yield f"{'presentations/subjects':<{max(width, 23)}}" + "".join(f"{split:>12}" for split in splits)
    for row in balance.to_dict(orient="records"):
        cells = "".join(f"{row[split]}/{row[f'{split}_subjects']}".rjust(12) for split in splits)
        yield f"{row['kind']:<10}{row['value']}".ljust(max(width, 23)) + cells


def _shortcut_lines(found: Audit) -> Iterator[str]:
    if not found.shortcuts:
        return
    width = max(len(shortcut.title) for shortcut in found.shortcuts) + 2
    yield f"{'what separates the classes':<{width + 10}}{'AUC':>6}  95 % interval   best on one species"
    for shortcut in found.shortcuts:
        area = shortcut.auc
        best = f"{shortcut.worst_species} {shortcut.worst.value:.3f}" if shortcut.worst_species else ""
        bounds = f"{area.low:.3f} to {area.high:.3f}" if not math.isnan(area.low) else "-"
        line = f"{'!' if shortcut.marked else ' '} {shortcut.source:<8}{shortcut.title:<{width}}"
        yield f"{line}{area.value:>6.3f}  {bounds:<16}{best:<28} {shortcut.direction}".rstrip()
    for value in found.one_class[:10]:
        named = f"{value.column} = {value.value or '(none)'}"
        who = f"{value.count} of {value.total}, {value.subjects} subjects"
        yield f"  {named} is always {value.label.replace('_', ' ')}: {who}"
