"""Makes the README's matrix of what a run of the tests saw land: platform x target x mode.

    matrix.py FOLDER README [--write]

FOLDER holds what the tests noted: `kinds` (every kind with its modes) and `landed` (what landed). Without
--write it only compares, and exits 1 if the README claims what this run did not see.
"""
import sys
from pathlib import Path

BEGIN, END = "<!-- matrix: tests/run --write-matrix -->", "<!-- end of matrix -->"
# SQL engines write tables and files; they do not call a receiver.
CANNOT = {(platform, "webhook") for platform in ("trino", "presto", "hiveserver2")}
# What plays the platform where the real one cannot be had.
SHOWN = {"treasure-data": "treasure-data (sandbox)", "http-job": "http-job (a job API of the tests)"}


def table(folder):
    kinds = sorted(set((folder / "kinds").read_text().split("\n")) - {""})
    landed = set((folder / "landed").read_text().split("\n"))
    modes = {}
    for line in kinds:
        what, name, can = line.split(" ")
        modes[what, name] = can.split(",")
    platforms = [name for what, name in modes if what == "platform"]
    targets = [name for what, name in modes if what == "target"]
    # One kind, two servers.
    platforms = [one for name in platforms for one in ((name, "presto") if name == "trino" else (name,))]
    rows = ["| platform | " + " | ".join(targets) + " |", "|---" * (len(targets) + 1) + "|"]
    for platform in platforms:
        can = modes["platform", "trino" if platform == "presto" else platform]
        cells = []
        for target in targets:
            possible = [mode for mode in can if mode in modes["target", target]]
            seen = [mode for mode in possible if f"{platform} {target} {mode}" in landed]
            unseen = [mode for mode in possible if mode not in seen]
            if (platform, target) in CANNOT or not possible:
                cells.append("not possible")
            elif not seen:
                cells.append("untested")
            else:
                cells.append("landed: " + ", ".join(seen) + (f"; untested: {', '.join(unseen)}" if unseen else ""))
        rows.append(f"| {SHOWN.get(platform, platform)} | " + " | ".join(cells) + " |")
    return "\n".join(rows)


def cells(text):
    """What a table says has landed."""
    rows = [[cell.strip() for cell in line.strip("| ").split("|")] for line in text.strip().splitlines()]
    said = set()
    for row in rows[2:]:
        for target, cell in zip(rows[0][1:], row[1:]):
            if cell.startswith("landed: "):
                said |= {(row[0], target, mode) for mode in cell.removeprefix("landed: ").split(";")[0].split(", ")}
    return said


def main():
    folder, readme = Path(sys.argv[1]), Path(sys.argv[2])
    text = readme.read_text()
    before, rest = text.split(BEGIN, 1)
    shown, after = rest.split(END, 1)
    made = table(folder)
    claimed, seen = cells(shown), cells(made)
    if "--write" in sys.argv:
        readme.write_text(f"{before}{BEGIN}\n\n{made}\n\n{END}{after}")
        return 0
    if more := sorted(seen - claimed):
        print(f"the README's matrix could say more (tests/run --write-matrix): {more}", file=sys.stderr)
    if missing := sorted(claimed - seen):
        print(f"the README's matrix says what this run did not see land: {missing}", file=sys.stderr)
        return 1
    return 0


sys.exit(main())
