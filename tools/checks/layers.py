#!/usr/bin/env python3
"""layers.py ROOT: proves the room table (rooms.py) on every #include: no arrow that it does not name, no cycle among
rooms or headers, pure rooms without clock, socket, thread, file or log. Prints each breach with file and line."""
import os
import sys

import rooms
import sources


def resolve(path, quoted, target, files):
    """The project's file that an include means, or None: somebody else's."""
    beside = os.path.normpath(os.path.join(os.path.dirname(path), target))
    candidates = ([beside] if quoted else []) + [target, "runtime/api/" + target]
    return next((c for c in candidates if c in files), None)


def breach(source, room, target, target_room):
    """Why `room` may not include the project's file `target`, or None."""
    if room != target_room:
        allowed = rooms.ALLOWED[room]
        if allowed is not None and target_room not in allowed:
            return f"{room} may not include {target_room} (allowed: {', '.join(sorted(allowed)) or 'nothing of ours'})"
    part = rooms.BASE_PART.get(room)
    if target_room == "base" and part is not None and target not in part:
        return f"{room} may include only {', '.join(sorted(part))} of base"
    if source.startswith("base/") and source in rooms.PUBLIC_BASE and target not in rooms.PUBLIC_BASE:
        return "a public header of base may include only public headers"
    return None


def foreign_breach(room, target):
    """Why `room` may not include the header `target` of others, or None."""
    if room in rooms.PURE_ROOMS and target not in rooms.PURE_HEADERS:
        return f"{room} is pure: <{target}> is not among its headers (no clock, socket, thread, file, log; see rooms.py)"
    for prefix, where in rooms.ONLY_IN.items():
        if target.startswith(prefix) and room not in where:
            return f"<{target}> belongs only in {', '.join(where)}"
    return None


def find_cycle(graph):
    """A cycle as a list of nodes, or None. graph: node -> set of nodes."""
    state, path = {}, []

    def visit(node):
        state[node] = 1
        path.append(node)
        for after in sorted(graph.get(node, ())):
            if state.get(after) == 1:
                return path[path.index(after):] + [after]
            if after not in state and (cycle := visit(after)):
                return cycle
        path.pop()
        state[node] = 2
        return None

    for node in sorted(graph):
        if node not in state and (cycle := visit(node)):
            return cycle
    return None


def check(root):
    files = set(sources.walk(root))
    errors, room_graph, file_graph, count = [], {}, {}, 0
    for path in sorted(f for f in files if f.endswith(sources.CPP)):
        room = rooms.room_of(path)
        if room is None:
            errors.append(f"{path}:1: no room: the table in tools/checks/rooms.py does not name this folder")
            continue
        for line, quoted, target in sources.includes(sources.read(root, path)):
            found = resolve(path, quoted, target, files)
            if found is None:
                why = foreign_breach(room, target)
                if quoted and target.split("/")[0] in {f.split("/")[0] for f in files if "/" in f}:
                    why = f'"{target}" is not there'
            else:
                count += 1
                target_room = rooms.room_of(found)
                why = breach(path, room, found, target_room)
                file_graph.setdefault(path, set()).add(found)
                if target_room != room and room != "tests":
                    room_graph.setdefault(room, set()).add(target_room)
            if why:
                errors.append(f"{path}:{line}: {why}")
    for name, graph in (("rooms", room_graph), ("files", file_graph)):
        if cycle := find_cycle(graph):
            errors.append(f"cycle of {name}: {' -> '.join(cycle)}")
    return errors, count


def main():
    root = sys.argv[1]
    errors, count = check(root)
    for error in errors:
        print(error)
    print(f"layers: {count} includes of ours, {len(errors)} breaches")
    return 1 if errors else 0


if __name__ == "__main__":
    sys.exit(main())
