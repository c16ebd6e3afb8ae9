"""What the FTP clients did, as Markdown. Measures nothing."""

from .ftp_clients import CURL, RCLONE
from .tables import machine, markdown, number

BEGIN = "<!-- scripts/bench ftp writes from here -->"


def render(scenes, sizes):
    """Everything, in Markdown."""
    parts = [about(sizes)]
    for scene in scenes:
        where = f"{scene.round_trip} ms round trip" if scene.round_trip else "loopback"
        parts.append(f"### FTP, vsftpd, {where}\n\n{grid(scene)}")
    return "\n\n".join(parts) + "\n"


def about(sizes):
    turns = f"; over loopback the best of {sizes.turns} turns each" if sizes.turns > 1 else ""
    return (
        f"{machine()}; a new mount with empty caches for every figure{turns}, every byte compared. "
        "`rclone mount` has `--vfs-cache-mode full`, the rest of it and of ours is as it comes, but for the "
        "options that are named. What is stored is timed until the server has every byte; `closed` says when "
        "`cp` had ended. rclone begins to send 5 s after a file is closed, so it is measured without that wait, "
        "too; it never waits at the close, as we do not with `--write-back async`. Ratios are to the quickest "
        "rclone of a measurement; curl, which copies one file and mounts nothing, is there for scale."
    )


def grid(scene):
    lines = [["what", "client", "seconds", "closed", "a second", f"× {RCLONE}", "compared"]]
    for measured in scene.measurements:
        rival = rclones_best(measured)
        for row in measured.rows:
            done = row.outcome
            rate = done and measured.amount / done.seconds
            cells = [measured.title if row is measured.rows[0] else "", row.name]
            cells += [number(done and done.seconds), number(done and done.closed)]
            cells += [number(rate, 0 if rate and rate >= 100 else 1, f" {measured.unit}")]
            cells += [number(done and rival and rival / done.seconds), row.note]
            lines.append(cells)
    return markdown(lines, left=2)


def rclones_best(measured):
    """Its seconds, the quicker of what it was called with; None where it did not get there."""
    theirs = [row for row in measured.rows if not row.ours and row.name != CURL]
    return min((row.outcome.seconds for row in theirs if row.outcome), default=None)


def wrong(scenes):
    """What must not be: other bytes than those that were sent, or that we did not get there."""
    return [
        f"{row.name} ({measured.title}, {scene.round_trip} ms): {row.note}"
        for scene in scenes
        for measured in scene.measurements
        for row in measured.rows
        if row.failed()
    ]
