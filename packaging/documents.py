#!/usr/bin/env python3
"""The man page and the shell completions of a program, from what its --help says of it and of its commands.
Usage: documents.py PROGRAM NAME VERSION FOLDER [COMMAND…]; a COMMAND is one that --help does not list."""

import gzip
import pathlib
import re
import subprocess
import sys

OPTION = re.compile(r"^  (?:-\w,)?(--[\w-]+)( [A-Z]\S*)?", re.M)


def help_of(program, command):
    result = subprocess.run([program, *command, "--help"], capture_output=True, text=True, check=True)
    return result.stdout.replace(str(program), pathlib.Path(program).name)


def commands_of(text):
    section = re.search(r"^Subcommands:\n((?:  .*\n)+)", text, re.M)
    return re.findall(r"^  (\S+) +(.+)$", section[1], re.M) if section else []


def tree_of(program, extra):
    """Each command, as a tuple of words, with its help."""
    tree = {(): help_of(program, ())}
    for name in [name for name, _ in commands_of(tree[()])] + extra:
        tree[name,] = help_of(program, [name])
        for nested, _ in commands_of(tree[name,]):
            tree[name, nested] = help_of(program, [name, nested])
    return tree


def roff(text):
    return re.sub(r"^([.'])", r"\\&\1", text.replace("\\", "\\e").replace("-", "\\-"), flags=re.M)


def verbatim(text):
    return ".nf\n" + roff(text.strip("\n")) + "\n.fi\n"


def man_page(name, version, tree):
    what, rest = tree[()].split("\nUsage: ", 1)
    usage, rest = rest.split("\n", 1)
    parts = re.split(r"^(Options|Subcommands|Example|Exit codes):", rest, flags=re.M)
    sections = dict(zip(parts[1::2], parts[2::2]))
    short = re.split(r"[:.] ", what, maxsplit=1)[-1].rstrip(".")
    page = f'.TH {name.upper()} 1 "" "Holdfast {version}" "User Commands"\n'
    page += f".SH NAME\n{name} \\- {roff(short)}\n.SH SYNOPSIS\n.B {roff(usage)}\n"
    page += f".SH DESCRIPTION\n{roff(what)}\n.SH OPTIONS\n{verbatim(sections['Options'])}"
    if len(tree) > 1:
        page += ".SH COMMANDS\n"
    for command, text in tree.items():
        if command:
            page += f".SS {name} {' '.join(command)}\n{verbatim(text)}"
    page += f".SH EXAMPLES\n{verbatim(sections['Example'])}"
    page += f".SH EXIT STATUS\n{roff(sections['Exit codes'].strip())}\n"
    return page


def words_of(tree, command):
    """What may follow a command: its commands, its options, and those of all commands."""
    options = [found for where in {(), command} for found, _ in OPTION.findall(tree[where])]
    return [word for word, _ in commands_of(tree[command])], sorted(set(options))


def bash(name, tree):
    function = "_" + name.replace("-", "_")
    out = f"# bash completion for {name}\n{function}() {{\n"
    out += "  local word=${COMP_WORDS[COMP_CWORD]} path= i\n"
    out += "  for ((i = 1; i < COMP_CWORD; ++i)); do\n    case \"$path ${COMP_WORDS[i]}\" in\n"
    paths = "|".join(f"' {' '.join(command)}'" for command in tree if command)
    if paths:
        out += f"      {paths}) path=\"$path ${{COMP_WORDS[i]}}\" ;;\n"
    out += "    esac\n  done\n  local commands= options=\n  case \"$path\" in\n"
    for command in tree:
        commands, options = words_of(tree, command)
        path = "".join(" " + word for word in command)
        out += f"    '{path}') commands='{' '.join(commands)}' options='{' '.join(options)}' ;;\n"
    out += "  esac\n  if [[ $word == -* ]]; then\n    COMPREPLY=($(compgen -W \"$options\" -- \"$word\"))\n"
    out += "  elif [[ -n $commands ]]; then\n    COMPREPLY=($(compgen -W \"$commands\" -- \"$word\"))\n"
    out += f"  else\n    COMPREPLY=($(compgen -f -- \"$word\"))\n  fi\n}}\ncomplete -o filenames -F {function} {name}\n"
    return out


def quoted(text):
    return "'" + text.replace("'", "'\\''") + "'"


def zsh(name, tree):
    out = f"#compdef {name}\n# Completes as bash does, with what each command is for.\n"
    out += "local path= word\nfor word in ${words[2,CURRENT-1]}; do\n  case \"$path $word\" in\n"
    paths = "|".join(f"' {' '.join(command)}'" for command in tree if command)
    if paths:
        out += f"    {paths}) path=\"$path $word\" ;;\n"
    out += "  esac\ndone\nlocal -a commands options\ncase \"$path\" in\n"
    for command in tree:
        _, options = words_of(tree, command)
        path = "".join(" " + word for word in command)
        described = " ".join(quoted(f"{word}:{text}") for word, text in commands_of(tree[command]))
        out += f"  '{path}') commands=({described}) options=({' '.join(options)}) ;;\n"
    out += "esac\nif [[ $words[CURRENT] == -* ]]; then\n  compadd -a options\nelif (( $#commands )); then\n"
    return out + "  _describe command commands\nelse\n  _files\nfi\n"


def fish(name, tree):
    out = f"# fish completion for {name}\n"
    for command in tree:
        commands, options = words_of(tree, command)
        condition = "__fish_use_subcommand"
        if command:
            condition = "; and ".join(f"__fish_seen_subcommand_from {word}" for word in command)
        nested = f"; and not __fish_seen_subcommand_from {' '.join(commands)}" if command and commands else ""
        for word, text in commands_of(tree[command]):
            out += f"complete -c {name} -f -n {quoted(condition + nested)} -a {word} -d {quoted(text)}\n"
        for option in options:
            out += f"complete -c {name} -n {quoted(condition + nested)} -l {option[2:]}\n"
    return out


def main():
    program, name, version, folder = sys.argv[1], sys.argv[2], sys.argv[3], pathlib.Path(sys.argv[4])
    tree = tree_of(program, sys.argv[5:])
    folder.mkdir(parents=True, exist_ok=True)
    page = man_page(name, version, tree).encode()
    (folder / f"{name}.1.gz").write_bytes(gzip.compress(page, mtime=0))
    for suffix, make in (("bash", bash), ("zsh", zsh), ("fish", fish)):
        (folder / f"{name}.{suffix}").write_text(make(name, tree))


main()
