"""What the FTP clients did, as Markdown. Measures nothing."""

from .ftp_clients import RCLONE, RCLONE_AT_ONCE
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
        "too; it never waits at the close, as we do not with `--write-back async`, while our close returns by "
        "default when the server has the file. Ratios are to rclone as it comes and to rclone that begins at "
        "once; curl, which copies one file and mounts nothing, is there for scale."
    )


def grid(scene):
    lines = [["what", "client", "seconds", "closed", "a second", f"× {RCLONE}", "× rclone at once", "compared"]]
    for measured in scene.measurements:
        rivals = [seconds(measured, name) for name in (RCLONE, RCLONE_AT_ONCE)]
        for row in measured.rows:
            done = row.outcome
            rate = done and measured.amount / done.seconds
            cells = [measured.title if row is measured.rows[0] else "", row.name]
            cells += [number(done and done.seconds), number(done and done.closed)]
            cells += [number(rate, 0 if rate and rate >= 100 else 1, f" {measured.unit}")]
            cells += [number(done and rival and rival / done.seconds) for rival in rivals]
            cells.append(row.note)
            lines.append(cells)
    return markdown(lines, left=2)


def seconds(measured, name):
    """How long a client took; None where it did not get there, or was not measured."""
    outcomes = [row.outcome for row in measured.rows if row.name == name]
    return next((outcome.seconds for outcome in outcomes if outcome), None)


def wrong(scenes):
    """What must not be: other bytes than those that were sent, or that we did not get there."""
    return [
        f"{row.name} ({measured.title}, {scene.round_trip} ms): {row.note}"
        for scene in scenes
        for measured in scene.measurements
        for row in measured.rows
        if row.failed()
    ]
