"""The tree of nodes of a VRML 2.0 file: words, brackets and braces; lists of numbers stay bytes until wanted."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

__all__ = ["Node", "parse_nodes"]

# A list without nodes in it, not even by USE, is one token: nearly all of a file is in a handful of them.
# A string that never ends takes all the rest, or each of its quotes would look for the end again.
_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*+"?|\[[^\[\]{}"U]*\]|[\[\]{}]|[^\s,\[\]{}"]+', re.DOTALL)
_COMMENT = re.compile(rb'("(?:[^"\\]|\\.)*+"?)|#[^\n\r]*', re.DOTALL)
_DEEPEST = 1000
_NO_NUMBER = re.compile(rb"[A-Za-z_]")


@dataclass
class Node:
    """A node: its type, its fields as written and the nodes in it.

    Attributes
    ----------
    kind : str
    fields : dict
        Words of each field that holds no nodes, separated by blanks.
    children : list of (str, Node)
        Name of the field and node, in the order of the file.
    """

    kind: str
    fields: dict[str, bytes] = field(default_factory=dict)
    children: list[tuple[str, "Node"]] = field(default_factory=list)

    def child(self, name: str) -> Node | None:
        """The first node in the field `name`."""
        return next((node for key, node in self.children if key == name), None)


def parse_nodes(data: bytes) -> Node:
    """The nodes of a file, as children of one without a kind.

    Raises
    ------
    ValueError
        If braces or brackets do not match, or a node is used that was not defined.
    """
    root = Node("")
    named: dict[bytes, Node] = {}
    stack = [(root, b"")]  # open nodes, and the field each is reading
    brackets: list[int] = []  # depth of `stack` at each open bracket
    waiting: bytes | None = None  # a word that may be a field or a type
    name = None
    text = _COMMENT.sub(lambda match: match.group(1) or b"", data)
    tokens = (match.group() for match in _TOKEN.finditer(text))
    for token in tokens:
        node, key = stack[-1]
        first = token[:1]
        if token == b"{":
            if waiting is None:
                raise ValueError("expected the type of a node before '{'")
            # a field that takes a node has given its name; `waiting` is the type
            child = Node(waiting.decode("ascii", "replace"))
            node.children.append((key.decode("ascii", "replace"), child))
            if name is not None:
                named[name] = child
            stack.append((child, b""))
            if len(stack) > _DEEPEST:
                raise ValueError(f"expected nodes within nodes at most {_DEEPEST} deep")
            waiting = name = None
        elif token == b"}":
            if len(stack) == 1 or (brackets and brackets[-1] >= len(stack)):
                raise ValueError("expected braces and brackets in pairs, got a '}' too many")
            stack.pop()
            waiting = None
        elif token == b"[":
            brackets.append(len(stack))
            stack[-1] = (node, waiting or key)
            waiting = None
        elif token == b"]":
            if not brackets or brackets.pop() != len(stack):
                raise ValueError("expected braces and brackets in pairs, got a ']' too many")
        elif token == b"DEF":
            name = _next(tokens)
            stack[-1] = (node, waiting or key)
            waiting = None
        elif token == b"USE":
            used = _next(tokens)
            if used not in named:
                raise ValueError(f"USE: no node is called {used[:40].decode('ascii', 'replace')!r}")
            node.children.append(((waiting or key).decode("ascii", "replace"), named[used]))
            waiting = None
        elif first == b"[":
            _store(node, waiting or key, token[1:-1].replace(b",", b" "))
            waiting = None
        elif first == b'"' or not _NO_NUMBER.match(token) or token in (b"TRUE", b"FALSE"):
            if waiting is not None:
                stack[-1], key, waiting = (node, waiting), waiting, None
                node.fields.pop(key.decode("ascii", "replace"), None)
            _store(node, key, token)
        elif waiting is not None:
            stack[-1], waiting = (node, waiting), token  # a field, then a type
        else:
            waiting = token
    if len(stack) > 1 or brackets:
        raise ValueError("the file ends within a node")
    return root


def _store(node: Node, key: bytes, words: bytes) -> None:
    name = key.decode("ascii", "replace")
    if name in node.fields and len(node.fields[name]) < 4096:  # single numbers after a field; no field needs more
        words = node.fields[name] + b" " + words
    node.fields[name] = words


def _next(tokens) -> bytes:
    try:
        return next(tokens)
    except StopIteration:
        raise ValueError("the file ends within a node") from None
