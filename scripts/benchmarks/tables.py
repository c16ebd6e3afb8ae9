"""Results as Markdown. Measures nothing."""

import datetime
import os
import pathlib
import platform

from .clients import BURST, MAVSDK_PUT, PLAIN

BEGIN, END = "<!-- scripts/bench writes from here -->", "<!-- to here -->"


def render(tables, quick):
    """Everything, in Markdown."""
    parts = [about(quick)]
    for table in tables:
        way = "Uploads to" if table.upload else "Downloads from"
        parts.append(f"### {way} {table.server}, {table.link.name}\n\n{grid(table)}")
        if table.bare:
            parts.append(bare_grid(table))
    return "\n\n".join(parts) + "\n"


def machine(files=""):
    """When and where."""
    now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
    load = os.getloadavg()[0]
    return (
        f"{now}, {files}{os.cpu_count()} processors, {platform.system()} {platform.release()}, "
        f"load {load:.1f} at the end"
    )


def about(quick):
    return (
        f"{machine('small files, ' if quick else 'large files, ')}; one run each, every byte compared. "
        "Ratios compare bytes a second, so files of different sizes stand side by side. The seconds are those of the transfer: our "
        "`get` and `put` from their first FTP frame to the end of the program, the whole run beside it; "
        "the others from the call to its end. The bound is rate × 239/266 × (1 − loss). Bare sockets have "
        "the best of several turns, for on a busy machine they are as slow as anybody; a share above "
        "100 % says that it was too busy to tell."
    )


def grid(table):
    bound = table.link.bound()
    rivals = [MAVSDK_PUT] if table.upload else [BURST, PLAIN]
    rates = {row.name: row.rate() for row in table.rows}
    rivals = [name for name in rivals if name in rates]
    head = ["client", "bytes", "seconds", "whole run", "KiB/s"]
    head += ["of the bound"] if bound else []
    head += [f"× {name}" for name in rivals]
    lines = [head + ["compared"]]
    for row in table.rows:
        rate = row.rate()
        cells = [row.name, str(row.bytes)]
        cells += [number(row.time and row.time.seconds), number(row.time and row.time.whole)]
        cells += [number(rate and rate / 1024, 0)]
        cells += [number(rate and 100 * rate / bound, 1, " %")] if bound else []
        cells += [number(rate and rates[name] and rate / rates[name]) for name in rivals]
        lines.append(cells + [row.note])
    return markdown(lines)


def bare_grid(table):
    """Our client and server beside bare sockets that exchange frames of the same sizes."""
    calls = {"plain": "a system call per frame", "batched": "a system call for many frames"}
    lines = [["bare sockets, the same frames", "KiB/s"] + [f"{row.name} reaches" for row in table.rows]]
    for name, rate in table.bare.items():
        shares = [number(row.rate() and 100 * row.rate() / rate, 1, " %") for row in table.rows]
        lines.append([calls[name], number(rate / 1024, 0), *shares])
    return markdown(lines)


def number(value, digits=2, unit=""):
    return "" if value is None else f"{value:.{digits}f}{unit}"


def markdown(lines, left=1):
    """A table, of which so many columns are words, and the others numbers."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    rows = [padded(line, widths, left) for line in lines]
    rule = ["-" * width for width in widths[:left]]
    rows.insert(1, rule + ["-" * (width - 1) + ":" for width in widths[left:]])
    return "\n".join("| " + " | ".join(cells) + " |" for cells in rows)


def padded(line, widths, left):
    words = [cell.ljust(width) for cell, width in zip(line[:left], widths)]
    return words + [cell.rjust(width) for cell, width in zip(line[left:], widths[left:])]


def write(file, text, begin=BEGIN):
    """Puts the text between the marks of a file; makes the file, or adds the marks, where missing."""
    path = pathlib.Path(file)
    old = path.read_text() if path.exists() else ""
    before, begun, rest = old.partition(begin)
    _, ended, after = rest.partition(END)
    if not (begun and ended):
        before, after = old.rstrip() + "\n\n" if old else "", "\n"
    path.write_text(f"{before}{begin}\n\n{text}\n{END}{after}")
