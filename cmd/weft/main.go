// Command weft is a self-hosted backlink index for the AT Protocol.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"

	"github.com/urfave/cli/v3"

	"weft.dev/weft/db/memlimit"
)

const rootDescription = `
weft reads every record on the network, or a slice that you choose, from Jetstream. It finds every link in the records
and answers queries over HTTP. All its data is in one directory of SQLite files.

Try it without internet access:  weft demo
Follow the network:              weft serve

Each flag has an environment variable: --log-level is WEFT_LOG_LEVEL. A flag wins over its variable.`

// version is set by the linker in releases: -X main.version=v1.2.3
var version string

func main() {
	memlimit.PaceGC()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	ctx, stdout, stderr := endWithReaders(ctx, os.Stdout, os.Stderr)
	os.Exit(run(ctx, os.Args, os.Environ(), stdout, stderr))
}

// exitBrokenPipe is the exit code when the reader of stdout or stderr has ended: 128 and SIGPIPE, as a shell reports
// a program that the signal ended.
const exitBrokenPipe = 128 + int(syscall.SIGPIPE)

// run runs weft and returns its exit code: 0 success, 1 failure, 2 a mistake in the arguments or environment; some
// commands have others.
func run(ctx context.Context, args, environ []string, stdout, stderr io.Writer) int {
	root := newRoot(stdout, stderr)
	if err := checkEnviron(root, environ); err != nil {
		fmt.Fprintln(stderr, "weft:", err)
		return 2
	}
	began := noteActions(root)
	err := root.Run(ctx, args)
	if errors.Is(context.Cause(ctx), errBrokenPipe) {
		return exitBrokenPipe
	}
	var usage *usageError
	switch {
	case err == nil:
		return 0
	case !*began || errors.As(err, &usage): // the error came before an action, e.g. an invalid value of a variable
		fmt.Fprintf(stderr, "weft: %v\nTry: %s --help\n", err, called(root, args).FullName())
		return 2
	}
	fmt.Fprintln(stderr, "weft:", err)
	var exit *exitError
	if errors.As(err, &exit) {
		return exit.code
	}
	return 1
}

// noteActions returns a flag that is set when a command's action begins: an error before that is a mistake in the
// arguments.
func noteActions(root *cli.Command) *bool {
	began := new(bool)
	for _, cmd := range commands(root) {
		action := cmd.Action
		if action == nil {
			continue
		}
		cmd.Action = func(ctx context.Context, cmd *cli.Command) error {
			*began = true
			return action(ctx, cmd)
		}
	}
	return began
}

func newRoot(stdout, stderr io.Writer) *cli.Command {
	root := &cli.Command{
		Name:        "weft",
		Usage:       "a backlink index for the AT Protocol",
		Description: rootDescription,
		Version:     versionText(),
		Writer:      stdout,
		ErrWriter:   stderr,
		Commands: []*cli.Command{serveCommand(stdout, stderr), demoCommand(stdout, stderr), checkCommand(stdout, stderr),
			compactCommand(stdout, stderr),
			statusCommand(stdout), statsCommand(stdout), logCommand(stdout), gapsCommand(stdout), exportCommand(stdout, stderr),
			restoreCommand(stdout, stderr), verifyCommand(stdout, stderr), replicaCommand(stdout), conformanceCommand(stdout),
			completionCommand(stdout), versionCommand(stdout)},
		Action: func(_ context.Context, cmd *cli.Command) error {
			if arg := cmd.Args().First(); arg != "" {
				return unknownCommand(cmd, arg)
			}
			return cli.ShowRootCommandHelp(cmd)
		},
		ExitErrHandler: func(context.Context, *cli.Command, error) {}, // run returns exit codes
	}
	for _, cmd := range commands(root) {
		cmd.Description = strings.TrimSpace(cmd.Description)
		cmd.OnUsageError = func(_ context.Context, cmd *cli.Command, err error, _ bool) error {
			return &usageError{explainFlag(root, cmd, err)}
		}
	}
	return root
}

// commands returns a command and all its subcommands.
func commands(of *cli.Command) []*cli.Command {
	all := []*cli.Command{of}
	for _, cmd := range of.Commands {
		all = append(all, commands(cmd)...)
	}
	return all
}

func versionCommand(stdout io.Writer) *cli.Command {
	return &cli.Command{
		Name:  "version",
		Usage: "print the version",
		Action: func(context.Context, *cli.Command) error {
			fmt.Fprintln(stdout, "weft version", versionText()) // as --version prints it
			return nil
		},
	}
}

// buildVersion returns the version of the release, or the version that the Go tool recorded: v1.2.3.
func buildVersion() string {
	info, ok := debug.ReadBuildInfo()
	if version != "" || !ok || info.Main.Version == "(devel)" {
		return cmp.Or(version, "dev")
	}
	return cmp.Or(info.Main.Version, "dev")
}

// versionText returns the version with the commit and its date, where the build has them:
// v1.2.3 (commit 0123456789ab, 2026-11-20T10:00:00Z).
func versionText() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return buildVersion()
	}
	return buildVersion() + commitOf(info.Settings)
}

// commitOf returns the commit and its date from the settings of a build inside a git checkout, or nothing.
func commitOf(settings []debug.BuildSetting) string {
	value := make(map[string]string, len(settings))
	for _, s := range settings {
		value[s.Key] = s.Value
	}
	commit := value["vcs.revision"]
	if len(commit) < 12 {
		return ""
	}
	dirty := ""
	if value["vcs.modified"] == "true" {
		dirty = " and changes"
	}
	return fmt.Sprintf(" (commit %s%s, %s)", commit[:12], dirty, value["vcs.time"])
}
