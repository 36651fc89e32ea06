package main

import (
	"bufio"
	"context"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v3"

	"weft.dev/weft/db"
)

const completionDescription = `
Prints a script that completes commands, flags and their values on Tab. The script comes from the table of commands
and flags of this version: print it again after an update.

  bash   add to ~/.bashrc:                source <(weft completion bash)
  zsh    add to ~/.zshrc after compinit:  source <(weft completion zsh)
  fish   weft completion fish > ~/.config/fish/completions/weft.fish`

// shells are the shells with a completion script.
var shells = []struct {
	name  string
	write func(w io.Writer, root *cli.Command)
}{{"bash", bashCompletion}, {"zsh", zshCompletion}, {"fish", fishCompletion}}

func completionCommand(stdout io.Writer) *cli.Command {
	cmd := &cli.Command{
		Name:        "completion",
		Usage:       "print the completion script of a shell",
		Description: completionDescription,
		Action: func(_ context.Context, cmd *cli.Command) error {
			if arg := cmd.Args().First(); arg != "" {
				return unknownCommand(cmd, arg)
			}
			return cli.ShowSubcommandHelp(cmd)
		},
	}
	for _, shell := range shells {
		cmd.Commands = append(cmd.Commands, &cli.Command{
			Name:  shell.name,
			Usage: "print the completion script of " + shell.name,
			Action: func(_ context.Context, cmd *cli.Command) error {
				err := noArgs(cmd)
				if err != nil {
					return err
				}
				w := bufio.NewWriter(stdout)
				shell.write(w, newRoot(io.Discard, io.Discard)) // without the library's own commands
				return w.Flush()
			},
		})
	}
	return cmd
}

// flagValues are the words that can be values of flags. A flag accepts these values only if its help names them all:
// export --from has another meaning.
var flagValues = map[string][]string{
	"bodies":        {db.BodiesOff.String(), db.BodiesWindow.String(), db.BodiesKeep.String()},
	"change-slice":  {"now", "now+backfill", "now+purge", "now+backfill+purge"},
	"format":        formatNames(anyFormat),
	"from":          {"now", "start"},
	"log-format":    {"text", "json"},
	"log-level":     {"debug", "info", "warn", "error"},
	"replay-window": {"24h", "all"},
}

// completed is a command with its possible continuations.
type completed struct {
	parent, typed string // as typed after weft: "replica" and "replica list"; empty: weft itself
	name, usage   string
	commands      []completed
	flags         []completedFlag
}

// completedFlag is a flag. A flag without a value has no kind.
type completedFlag struct {
	name, usage string
	kind        valueKind
	words       []string
}

type valueKind int

const (
	noValue valueKind = iota
	aFile
	aDirectory
	aWord // one of words, or any other text
)

// completedCommands returns a command and all its subcommands.
func completedCommands(cmd *cli.Command, parent, typed string) []completed {
	c := completed{parent: parent, typed: typed, name: cmd.Name, usage: cmd.Usage, flags: completedFlags(cmd)}
	var beneath []completed
	for _, sub := range cmd.Commands {
		of := completedCommands(sub, typed, strings.TrimSpace(typed+" "+sub.Name))
		c.commands = append(c.commands, of[0])
		beneath = append(beneath, of...)
	}
	return append([]completed{c}, beneath...)
}

// completedFlags returns the flags of a command, with those that every command has.
func completedFlags(cmd *cli.Command) []completedFlag {
	var flags []completedFlag
	for _, flag := range cmd.Flags {
		doc := flag.(cli.DocGenerationFlag)
		usage := doc.GetUsage()
		f := completedFlag{name: flag.Names()[0], usage: firstPart(usage)}
		switch {
		case !doc.TakesValue():
		case strings.Contains(usage, "`FILE`"):
			f.kind = aFile
		case strings.Contains(usage, "`DIRECTORY`"):
			f.kind = aDirectory
		default:
			f.kind = aWord
			f.words = flagValues[f.name]
			missing := func(word string) bool { return !strings.Contains(usage, word) }
			if slices.ContainsFunc(strings.Split(strings.Join(f.words, "+"), "+"), missing) {
				f.words = nil
			}
		}
		flags = append(flags, f)
	}
	flags = append(flags, completedFlag{name: "help", usage: "show help"})
	if cmd.Version != "" {
		flags = append(flags, completedFlag{name: "version", usage: "print the version"})
	}
	return flags
}

// firstPart returns the help text up to its first detail, without placeholder marks: shells show one line per flag.
func firstPart(usage string) string {
	for _, detail := range []string{";", ":", ", e.g.", " (", " such as"} {
		usage, _, _ = strings.Cut(usage, detail)
	}
	return strings.ReplaceAll(usage, "`", "")
}
