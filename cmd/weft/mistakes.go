package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/urfave/cli/v3"
)

// usageError is a mistake in the arguments of a command. Its advice is that command's --help.
type usageError struct{ err error }

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

// called returns the command that the arguments name: replica list for weft replica list --json.
func called(root *cli.Command, args []string) *cli.Command {
	cmd := root
	for _, arg := range args[min(1, len(args)):] {
		i := slices.IndexFunc(cmd.Commands, func(c *cli.Command) bool { return c.HasName(arg) })
		if i < 0 {
			break
		}
		cmd = cmd.Commands[i]
	}
	return cmd
}

// unknownCommand returns the error for a subcommand that cmd does not have, with a suggestion.
func unknownCommand(cmd *cli.Command, name string) error {
	var names []string
	for _, c := range cmd.Commands {
		names = append(names, c.Name)
	}
	typed := strings.TrimPrefix(typedName(cmd)+" "+name, "weft ")
	return &usageError{fmt.Errorf("unknown command %q%s", typed, didYouMean(cmd.FullName()+" ", nearest(name, names)))}
}

// undefinedFlag is the start of the flag package's error for an unknown flag. The flag's name follows.
const undefinedFlag = "flag provided but not defined: -"

// explainFlag adds a suggestion to an error about a flag that cmd does not have.
func explainFlag(root, cmd *cli.Command, err error) error {
	_, typed, found := strings.Cut(err.Error(), undefinedFlag)
	if !found {
		return err
	}
	name := strings.TrimLeft(typed, "-")
	var has []string
	for _, c := range commands(root) {
		if c != cmd && slices.Contains(flagNames(c), name) {
			has = append(has, typedName(c))
		}
	}
	meant := nearest(name, flagNames(cmd))
	if meant == "" && len(has) > 0 {
		return fmt.Errorf("%s has no flag --%s; %s has", typedName(cmd), name, strings.Join(has, ", "))
	}
	return fmt.Errorf("%s has no flag --%s%s", typedName(cmd), name, didYouMean("--", meant))
}

// typedName returns the command as typed after weft: "replica list"; "weft" itself.
func typedName(cmd *cli.Command) string { return strings.TrimPrefix(cmd.FullName(), "weft ") }

// flagNames returns the names of a command's own flags.
func flagNames(cmd *cli.Command) []string {
	var names []string
	for _, flag := range cmd.Flags {
		names = append(names, flag.Names()...)
	}
	return names
}

// checkEnviron returns an error for WEFT_ variables that no flag reads: a misspelt variable would silently do nothing.
func checkEnviron(root *cli.Command, environ []string) error {
	var known []string
	for _, cmd := range commands(root) {
		for _, flag := range cmd.Flags {
			if f, ok := flag.(cli.DocGenerationFlag); ok {
				known = append(known, f.GetEnvVars()...)
			}
		}
	}
	var unknown []string
	for _, kv := range environ {
		name, _, _ := strings.Cut(kv, "=")
		if strings.HasPrefix(name, "WEFT_") && !slices.Contains(known, name) {
			unknown = append(unknown, name+didYouMean("", nearest(name, known)))
		}
	}
	if len(unknown) == 0 {
		return nil
	}
	return errors.New("unknown environment variable " + strings.Join(unknown, ", ") +
		"\nTry: weft COMMAND --help, which lists the variables that a command reads; unset all others")
}

// didYouMean returns a suggestion to append to an error; empty without one.
func didYouMean(prefix, meant string) string {
	if meant == "" {
		return ""
	}
	return fmt.Sprintf(" (did you mean %s%s?)", prefix, meant)
}

// nearest returns the name most similar to the typed one: with the fewest typing errors, at most a third of its
// letters, else the only name with the typed text as its prefix. Empty: none.
func nearest(typed string, names []string) string {
	least := len(typed)/3 + 1
	meant := ""
	var begins []string
	for _, name := range names {
		if d := distance(typed, name); d < least {
			least = d
			meant = name
		}
		if len(typed) >= 3 && strings.HasPrefix(name, typed) && !slices.Contains(begins, name) {
			begins = append(begins, name)
		}
	}
	if meant == "" && len(begins) == 1 {
		return begins[0]
	}
	return meant
}

// distance returns the number of typing errors between two texts: letters that are added, missing, replaced or swapped
// with their neighbour.
func distance(a, b string) int {
	rows := make([][]int, len(a)+1)
	for i := range rows {
		rows[i] = make([]int, len(b)+1)
		rows[i][0] = i
	}
	for j := range rows[0] {
		rows[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			replaced := rows[i-1][j-1]
			if a[i-1] != b[j-1] {
				replaced++
			}
			rows[i][j] = min(rows[i-1][j]+1, rows[i][j-1]+1, replaced)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				rows[i][j] = min(rows[i][j], rows[i-2][j-2]+1)
			}
		}
	}
	return rows[len(a)][len(b)]
}
