package db

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	_ "modernc.org/sqlite"
)

// walks are the files whose statements run at a start or in the writer, which no client makes
// run.
var walks = map[string]bool{
	"firstchecksums.go": true, "logrow/checksum.go": true, "logrow/sumsql.go": true, "logrow/verify.go": true,
	"apply/replay.go": true, "apply/loadstate.go": true, "store.go": true, "manifest.go": true,
	"index/manifestrow.go": true, "readonly.go": true,
}

// bounded are statements that walk through a table which stays small, and why it does.
var bounded = map[string]string{
	// The array has the accounts of a page, or of a part of the log.
	"SELECT actors.id, did FROM json_each(?) CROSS JOIN actors ON actors.id = value": "it walks through the array",

	"SELECT count(*) FROM gaps WHERE state = 'open' AND ?1 IN (0, id)": "weft gaps asks, and no client",
	`SELECT (SELECT min(seq) FROM bodies), EXISTS (SELECT 1 FROM replaced),
		ifnull((SELECT seq FROM sqlite_sequence WHERE name = 'blocks'), 0)`: "at a start, and it ends at the first row",
	"SELECT * FROM pragma_auto_vacuum, pragma_freelist_count, pragma_page_count, pragma_page_size": "a row of the header",
	"SELECT rules, clock_us, fit_us FROM retention":                                                "it has the rules that the operator gave",
	"SELECT actor, was, now, purge, after FROM sealed_jobs":                                        "at a start",
	"SELECT from_seq, to_seq FROM gaps WHERE host = ? AND from_seq <= ? AND to_seq >= ?":           "only repeats ask",
	"SELECT count(*) FROM gaps WHERE state = 'open'":                                               "a store asks after a change of the gaps: openGaps",
	`SELECT host, kind, seq, high_seq, time_us, cursor_us, instance, followed_us, clock_us, epoch
		FROM upstream`: "upstreams are those that the operator named",
}

// TestNoScan: no statement that a client can make run walks through a table. The statements are read from the source,
// so that a new one is held to it as well.
func TestNoScan(t *testing.T) {
	t.Parallel()
	s, err := Open(Config{Dir: t.TempDir(), Bodies: BodiesKeep})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	seen := 0
	for file, statements := range statementsOf(t) {
		if walks[file] {
			continue
		}
		for _, statement := range statements {
			if bounded[statement] != "" {
				continue
			}
			seen++
			// A list of values has the length that it is given.
			query := strings.ReplaceAll(statement, "IN (?)", "IN (1, 2)")
			args := make([]any, strings.Count(query, "?"))
			for i := range args {
				args[i] = 1
			}
			rows, err := s.core.Reader.Query("EXPLAIN QUERY PLAN "+query, args...)
			if err != nil {
				t.Errorf("%s: %q: %v", file, statement, err)
				continue
			}
			for rows.Next() {
				var id, parent, unused int
				var detail string
				if err := rows.Scan(&id, &parent, &unused, &detail); err != nil {
					t.Fatal(err)
				}
				if scans.MatchString(detail) {
					t.Errorf("%s: %q: %s", file, statement, detail)
				}
			}
			_ = rows.Close()
		}
	}
	if seen < 20 {
		t.Errorf("%d statements were found", seen)
	}
}

// scans matches a walk through a table. One row of constants is none.
var scans = regexp.MustCompile(`^SCAN [^C]`)

// statementsOf are the selects of the packages whose statements a client can make run, by file.
func statementsOf(t *testing.T) map[string][]string {
	t.Helper()
	files := map[string]*ast.File{}
	for _, dir := range []string{".", "apply", "index", "logclock", "logrow"} {
		names, err := filepath.Glob(filepath.Join(dir, "*.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			files[name], err = parser.ParseFile(token.NewFileSet(), name, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	found := map[string][]string{}
	for name, file := range files {
		ast.Inspect(file, func(n ast.Node) bool {
			if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
				if text, err := strconv.Unquote(l.Value); err == nil && strings.HasPrefix(text, "SELECT ") &&
					!strings.HasSuffix(text, "SELECT ") && !strings.HasSuffix(text, "(") {
					found[name] = append(found[name], text)
				}
			}
			return true
		})
	}
	return found
}
