"""The results of serving as Markdown, and what is wrong with them. Measures nothing."""

from .scenes import DIFFERENT, EQUAL
from .served_scenes import CROWD
from .tables import machine, markdown, number

BEGIN = "<!-- scripts/bench serve writes from here -->"


def render(pairs, alone, together, amounts):
    """Everything, in Markdown."""
    return "\n\n".join([about(amounts), foreign(pairs), own(alone, together)]) + "\n"


def about(amounts):
    return (
        f"{machine()}; every byte compared, loopback. Foreign clients: one run each, from the call to its "
        f"last callback. Our own: the best of {amounts.turns} turns, each client timed from its OpenFileRO on "
        f"the wire to the end of the program; all bytes of {CROWD} at once from the first one's start to "
        "the last one's end."
    )


def foreign(pairs):
    lines = [["foreign client", "bytes", "serve, KiB/s", "MAVSDK's FtpServer, KiB/s", "ratio", "compared"]]
    for pair in pairs:
        notes = {row.note for row in (pair.ours, pair.theirs)}
        rates = [number(row.rate() and row.rate() / 1024, 0) for row in (pair.ours, pair.theirs)]
        note = EQUAL if notes == {EQUAL} else "; ".join(sorted(notes - {EQUAL}))
        lines.append([pair.name, str(pair.ours.bytes), *rates, number(pair.ratio()), note])
    title = "### Foreign clients download from mavftp-mount serve and from MAVSDK's FtpServer"
    return f"{title}\n\n{markdown(lines)}"


def own(alone, together):
    lines = [["mavftp-mount get", "bytes each", "seconds", "total KiB/s", "of one client's"]]
    lines[0] += ["mean of each, KiB/s", "slowest of the mean", "compared"]
    for row in (alone, together):
        mean = sum(row.rates) / row.count
        shares = [100 * row.total() / alone.total(), 100 * min(row.rates) / mean]
        cells = [f"{row.count} at once" if row.count > 1 else "alone", str(row.bytes)]
        cells += [number(row.seconds), number(row.total() / 1024, 0), number(shares[0], 1, " %")]
        cells += [number(mean / 1024, 0), number(shares[1], 1, " %"), row.note]
        lines.append(cells)
    return f"### {CROWD} clients of our own at once\n\n{markdown(lines)}"


def wrong(pairs, alone, together):
    """What went wrong. Theirs may fail at theirs."""
    rows = [pair.ours for pair in pairs]
    failed = [f"{row.name}: {row.note}" for row in rows if row.note != EQUAL]
    mixed = [f"{row.count} clients: {row.note}" for row in (alone, together) if row.note != EQUAL]
    theirs = [f"{pair.name}: {DIFFERENT}" for pair in pairs if pair.theirs.note == DIFFERENT]
    return failed + mixed + theirs
