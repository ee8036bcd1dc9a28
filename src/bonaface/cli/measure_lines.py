"""Format plans of an evaluation, and the tables of a standard, as lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bonaface.evaluation.planning import Plan, PlannedSet
    from bonaface.report.iso_profile import IsoProfile, ProfileLine


def plan_lines(plan: Plan) -> Iterator[str]:
    """Yield a table for each rate to show and one for the planned set, then how to read them."""
    each = "1 presentation" if plan.per_subject == 1 else f"{plan.per_subject} presentations"
    for name, rate in plan.wanted.items():
        of = "of each attack species" if name == "apcer" else "bona fide"
        yield f"to show {name.upper()} <= {100 * rate:g} %: {each} {of} from each of"
        yield from _table(plan.needed[name])
        if name == "apcer" and plan.species > 1:
            total = plan.species * plan.needed[name][0].presentations
            yield f"  {plan.species} species without an error: {total:,} attack presentations, of the same subjects"
        yield ""
    if plan.planned:
        first = plan.planned[0]
        yield f"planned: {each} of one species, or bona fide, from each of {first.subjects:,} subjects; its bounds"
        yield from _table(plan.planned)
        yield ""
    yield (
        f"Bounds of the {100 * plan.confidence:g} % interval over subjects, as in every report; errors lie where they raise "
        "the bound most. Presentations without a score do not count: plan for some more."
    )
    if plan.confidence != 0.95:
        yield f"note: reports show 95 % intervals, not {100 * plan.confidence:g} %"


def profile_lines(profile: IsoProfile) -> Iterator[str]:
    """Yield the threshold, a line for each species and for bona fide, each followed by what it lacks, and the rest."""
    from bonaface.report.formatting import score

    yield profile.standard
    if profile.threshold is not None:
        yield f"threshold {score(profile.threshold.threshold)}: {profile.source}"
    width = max(9, *(len(line.name) for line in (*profile.species, profile.bona_fide)))
    if profile.species:
        yield _profile_row(width, ("", "presentations", "subjects", "instruments", "APCER", "95 % bounds", "APNRR"))
    for line in profile.species:
        yield from _profile_line(width, line)
    yield _profile_row(width, ("", "presentations", "subjects", "", "BPCER", "95 % bounds", "BPNRR"))
    yield from _profile_line(width, profile.bona_fide, instruments=False)
    yield from (f"missing: {what}" for what in profile.missing)
    yield profile.in_words


def _profile_line(width: int, line: ProfileLine, *, instruments: bool = True) -> Iterator[str]:
    from bonaface.report.formatting import interval

    subjects, kinds = ("-" if count is None else f"{count:,}" for count in (line.subjects, line.instruments))
    error, no_response = (str(rate) if rate.defined else "undefined" for rate in (line.error, line.no_response))
    bounds = f"{interval(line.error)} %" if interval(line.error) else "-"
    yield _profile_row(
        width,
        (line.name, f"{line.presentations:,}", subjects, kinds if instruments else "", error, bounds, no_response),
    )
    yield from (f"    missing: {what}" for what in line.missing)


def _profile_row(width: int, cells: Sequence[str]) -> str:
    name, *figures = cells
    return "  ".join((f"{name:<{width}}", *(f"{cell:>{size}}" for cell, size in zip(figures, _WIDTHS, strict=True))))


_WIDTHS = (13, 8, 11, 18, 16, 18)


def _table(sets: Sequence[PlannedSet]) -> Iterator[str]:
    yield f"  {'errors':>6}  {'subjects':>10}  {'presentations':>13}  {'rate':>9}  {'upper bound':>11}"
    for each in sets:
        rate = each.errors / each.presentations
        yield (
            f"  {each.errors:>6}  {each.subjects:>10,}  {each.presentations:>13,}  {_percent(rate):>9}  "
            f"{_percent(each.high):>11}"
        )


def _percent(share: float) -> str:
    """Return a percentage with four significant digits at most.

    >>> _percent(0.04994), _percent(0.0), _percent(0.000013)
    ('4.994 %', '0 %', '0.0013 %')
    """
    return f"{100 * share:.4g} %"
