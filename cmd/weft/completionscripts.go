package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/urfave/cli/v3"
)

// quoted quotes a text for bash and zsh.
func quoted(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// bashCompletion writes a script for bash 3.2 and later that needs no other package.
func bashCompletion(w io.Writer, root *cli.Command) {
	all := completedCommands(root, "", "")
	fmt.Fprint(w, `# Completion of weft for bash: source <(weft completion bash)
_weft() {
  local IFS=$'\n' cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} typed='' words='' i
  COMPREPLY=()
  # bash takes the = of --flag=value for a word.
  if [[ $cur == = ]]; then
    cur=''
  elif [[ $prev == = ]]; then
    prev=${COMP_WORDS[COMP_CWORD-2]}
  fi
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$typed ${COMP_WORDS[i]}" in
`)
	for _, c := range all[1:] {
		fmt.Fprintf(w, "      %s) typed=%s ;;\n", quoted(c.parent+" "+c.name), quoted(c.typed))
	}
	fmt.Fprint(w, `    esac
  done
  case "$typed $prev" in
`)
	for _, c := range all {
		for _, f := range c.flags {
			if f.kind != noValue {
				fmt.Fprintf(w, "    %s) %s; return ;;\n", quoted(c.typed+" --"+f.name), bashValues(f))
			}
		}
	}
	fmt.Fprint(w, `  esac
  case $typed in
`)
	for _, c := range all {
		var words []string
		for _, sub := range c.commands {
			words = append(words, sub.name)
		}
		for _, f := range c.flags {
			words = append(words, "--"+f.name)
		}
		fmt.Fprintf(w, "    %s) words=%s ;;\n", quoted(c.typed), bashWords(words))
	}
	fmt.Fprint(w, `  esac
  COMPREPLY=($(compgen -W "$words" -- "$cur"))
}
complete -F _weft weft
`)
}

// bashValues is a command that sets COMPREPLY to the values of a flag.
func bashValues(f completedFlag) string {
	switch f.kind {
	case aFile:
		return `compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -f -- "$cur"))`
	case aDirectory:
		return `compopt -o filenames 2>/dev/null; COMPREPLY=($(compgen -d -- "$cur"))`
	default:
		return `COMPREPLY=($(compgen -W ` + bashWords(f.words) + ` -- "$cur"))`
	}
}

// bashWords returns a list of words without quotes that compgen splits at IFS.
func bashWords(words []string) string { return `$'` + strings.Join(words, `\n`) + `'` }

// zshCompletion writes a script for zsh, to be sourced or saved as _weft in a directory of $fpath.
func zshCompletion(w io.Writer, root *cli.Command) {
	all := completedCommands(root, "", "")
	fmt.Fprint(w, `#compdef weft
# Completion of weft for zsh: source <(weft completion zsh)
_weft() {
  local typed=''
  local -a commands
  while (( CURRENT > 2 )); do
    case "$typed ${words[2]}" in
`)
	for _, c := range all[1:] {
		fmt.Fprintf(w, "      %s) typed=%s ;;\n", quoted(c.parent+" "+c.name), quoted(c.typed))
	}
	fmt.Fprint(w, `      *) break ;;
    esac
    shift words
    (( CURRENT-- ))
  done
  case $typed in
`)
	for _, c := range all {
		fmt.Fprintf(w, "    %s)\n", quoted(c.typed))
		rest := "*: :()" // weft alone knows the names that are arguments
		if len(c.commands) > 0 {
			rest = "1: :{_describe command commands}"
			fmt.Fprint(w, "      commands=(\n")
			for _, sub := range c.commands {
				fmt.Fprintf(w, "        %s\n", quoted(sub.name+":"+sub.usage))
			}
			fmt.Fprint(w, "      )\n")
		}
		fmt.Fprint(w, "      _arguments : \\\n")
		for _, f := range c.flags {
			fmt.Fprintf(w, "        %s \\\n", quoted(zshFlag(f)))
		}
		fmt.Fprintf(w, "        %s ;;\n", quoted(rest))
	}
	fmt.Fprint(w, `  esac
}
if [[ $funcstack[1] == _weft ]]; then
  _weft "$@"
else
  compdef _weft weft
fi
`)
}

// zshFlag returns a flag in the syntax of _arguments.
func zshFlag(f completedFlag) string {
	usage := strings.NewReplacer(`\`, `\\`, `[`, `\[`, `]`, `\]`).Replace(f.usage)
	switch f.kind {
	case aFile:
		return fmt.Sprintf("--%s=[%s]:file:_files", f.name, usage)
	case aDirectory:
		return fmt.Sprintf("--%s=[%s]:directory:_directories", f.name, usage)
	case aWord:
		return fmt.Sprintf("--%s=[%s]:value:(%s)", f.name, usage, strings.Join(f.words, " "))
	default:
		return fmt.Sprintf("--%s[%s]", f.name, usage)
	}
}

// fishCompletion writes a script for fish 3 and later.
func fishCompletion(w io.Writer, root *cli.Command) {
	fmt.Fprint(w, "# Completion of weft for fish: weft completion fish > ~/.config/fish/completions/weft.fish\n"+
		"complete -c weft -e\ncomplete -c weft -f\n")
	for _, c := range completedCommands(root, "", "") {
		seen := "__fish_use_subcommand"
		if c.typed != "" {
			seen = "__fish_seen_subcommand_from " + strings.ReplaceAll(c.typed, " ", "; and __fish_seen_subcommand_from ")
		}
		first := seen
		var names []string
		for _, sub := range c.commands {
			names = append(names, sub.name)
		}
		if c.typed != "" && len(names) > 0 {
			first = seen + "; and not __fish_seen_subcommand_from " + strings.Join(names, " ")
		}
		for _, sub := range c.commands {
			fmt.Fprintf(w, "complete -c weft -n %s -a %s -d %s\n", fishQuoted(first), sub.name, fishQuoted(sub.usage))
		}
		for _, f := range c.flags {
			fmt.Fprintf(w, "complete -c weft -n %s -l %s%s -d %s\n", fishQuoted(seen), f.name, fishValues(f),
				fishQuoted(f.usage))
		}
	}
}

// fishValues returns the options of complete for the values of a flag.
func fishValues(f completedFlag) string {
	switch f.kind {
	case aFile:
		return " -r -F"
	case aDirectory:
		return " -x -a '(__fish_complete_directories)'"
	case aWord:
		return " -x -a " + fishQuoted(strings.Join(f.words, " "))
	default:
		return ""
	}
}

// fishQuoted quotes a text for fish.
func fishQuoted(text string) string {
	return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(text) + "'"
}
