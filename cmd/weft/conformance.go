package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/urfave/cli/v3"

	"weft.dev/weft/api/conformance"
	"weft.dev/weft/humanize"
)

const conformanceDescription = `
Tests the backlink API of a server, weft or another: response shapes, counts that agree with lists, paging in both
directions, filters, errors, CORS. It only reads. Tests of lists need lists that do not change: name one with
--subject and --source, or several with --fixture, a JSON file:

  {"lists":[{"subject":"at://…","source":"app.bsky.graph.listitem:list","other":"subject",
    "total":3,"dids":2,"records":[{"did":"…","collection":"…","rkey":"…"}]}]}

Only subject and source are required. "differs" marks a feature that weft has and Constellation lacks; it is not a
failure. The last line is a summary. A server that is away or has no such API is one error.

Exit code: 0 no test failed, 1 a test failed or the server cannot be tested, 2 wrong usage.

  weft conformance https://constellation.microcosm.blue --subject at://… --source app.bsky.feed.like:subject.uri`

func conformanceCommand(stdout io.Writer) *cli.Command {
	return &cli.Command{
		Name:        "conformance",
		Usage:       "test a server's blue.microcosm.links.* API",
		ArgsUsage:   "URL",
		Description: conformanceDescription,
		Flags: variables("WEFT_CONFORMANCE_",
			&cli.StringFlag{Name: "subject", Usage: "a `SUBJECT` that has links"},
			&cli.StringFlag{Name: "source", Usage: "the `SOURCE` of its links, collection:path"},
			&cli.StringFlag{Name: "other", Usage: "a `PATH` to another link in the same records, for many-to-many"},
			&cli.StringFlag{Name: "fixture", Usage: "a JSON `FILE` of lists to test"},
		),
		Action: func(ctx context.Context, cmd *cli.Command) error {
			if cmd.Args().Len() != 1 {
				return &usageError{errors.New("conformance needs one argument, the URL of a server")}
			}
			fixture, err := readFixture(cmd)
			if err != nil {
				return err
			}
			came := map[conformance.Outcome]int64{}
			err = conformance.Run(ctx, conformance.Config{URL: cmd.Args().First(), Fixture: fixture, Agent: "weft/" +
				buildVersion()},
				func(r conformance.Result) {
					came[r.Outcome]++
					fmt.Fprintf(stdout, "%-8s %s\n", r.Outcome, r.Name)
					if r.Detail != "" {
						fmt.Fprintf(stdout, "         %s\n", r.Detail)
					}
				})
			if err != nil {
				return err
			}
			failed := came[conformance.Failed]
			fmt.Fprintf(stdout, "\n%s: %d ok, %d failed, %d differ, %d skipped\n", cmd.Args().First(), came[conformance.Passed],
				failed, came[conformance.Differs], came[conformance.Skipped])
			if failed > 0 {
				return fmt.Errorf("%s failed", humanize.Count(failed, "test"))
			}
			return nil
		},
	}
}

func readFixture(cmd *cli.Command) (f conformance.Fixture, err error) {
	if subject, source := cmd.String("subject"), cmd.String("source"); (subject == "") != (source == "") {
		return f, &usageError{errors.New("--subject and --source need each other")}
	} else if subject != "" {
		f.Lists = append(f.Lists, conformance.List{Subject: subject, Source: source, Other: cmd.String("other")})
	}
	name := cmd.String("fixture")
	if name == "" {
		return f, nil
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return f, fmt.Errorf("--fixture: %w", err)
	}
	var more conformance.Fixture
	if err := json.Unmarshal(data, &more); err != nil {
		return f, &usageError{fmt.Errorf("--fixture: %s: %w", name, err)}
	}
	f.Lists = append(f.Lists, more.Lists...)
	return f, nil
}
