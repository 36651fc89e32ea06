package web

import (
	"bytes"
	"encoding/json"
	"fmt"
	"go/format"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf16"

	"weft.dev/weft/api/lexicons"
	"weft.dev/weft/api/routes"
)

// This file generates programs of a visitor's query. They call a method of weft's clients if there is one. Otherwise
// they use HTTP, with types from the method's definition.

// snippet is a query as a program in one language.
type snippet struct{ Language, Text string }

func code(def *lexicons.Def, origin string, q *question) []snippet {
	shell := "curl"
	if streamOf(def) == routes.WebSocket {
		shell = "websocat"
	}
	return []snippet{
		{shell, curlCode(def, origin, q)},
		{"Go", goCode(def, origin, q)},
		{"TypeScript", tsCode(def, origin, q)},
	}
}

// clientCall is a method's call in the clients.
type clientCall struct {
	goCall, tsCall string            // with a placeholder for the arguments
	goQuery        string            // type of the argument in Go; empty: plain strings
	goFields       map[string]string // Go fields by parameter; the Go client lacks the other parameters
	// tsPlain are the positional parameters in TypeScript, and in Go without goQuery.
	tsPlain  []string
	tsFields map[string]string // TypeScript options by parameter
	one      bool              // the call returns one value; otherwise an iterator
}

// clientCalls are the calls by route. TestCode compiles each.
var clientCalls = map[*routes.Route]clientCall{
	routes.GetBacklinksCount: {
		goCall: "Count(ctx, %s)", tsCall: "count(%s)", tsPlain: []string{"subject", "source"}, one: true,
	},
	routes.WeftGetBacklinks: {
		goCall: "Backlinks(ctx, %s)", goQuery: "client.Query",
		goFields: map[string]string{"subject": "Subject", "source": "Source", "did": "DIDs", "since": "Since",
			"until": "Until", "reverse": "Reverse", "hydrate": "Hydrate", "limit": "Limit"},
		tsCall: "backlinks(%s)", tsPlain: []string{"subject", "source"},
		tsFields: map[string]string{"did": "dids", "since": "since", "until": "until", "reverse": "reverse",
			"hydrate": "hydrate", "limit": "limit"},
	},
	routes.WeftGetBacklinkDIDs: {
		goCall: "DIDs(ctx, %s)", goQuery: "client.Query",
		goFields: map[string]string{"subject": "Subject", "source": "Source", "since": "Since", "until": "Until",
			"limit": "Limit"},
		tsCall: "dids(%s)", tsPlain: []string{"subject", "source"},
		tsFields: map[string]string{"since": "since", "until": "until", "limit": "limit"},
	},
	routes.GetAccountBacklinks: {
		goCall: "AccountLinks(ctx, %s)", goQuery: "client.AccountQuery",
		goFields: map[string]string{"did": "DID", "source": "Sources", "since": "Since", "until": "Until",
			"hydrate": "Hydrate", "limit": "Limit"},
		tsCall: "accountLinks(%s)", tsPlain: []string{"did"},
		tsFields: map[string]string{"source": "sources", "since": "since", "until": "until", "hydrate": "hydrate",
			"limit": "limit"},
	},
	routes.GetAccountCounts: {
		goCall: "AccountCounts(ctx, %s)", tsCall: "accountCounts(%s)", tsPlain: []string{"did"}, one: true,
	},
	routes.GetRecordLinks: {
		goCall: "RecordLinks(ctx, %s)", tsCall: "recordLinks(%s)", tsPlain: []string{"did", "collection", "rkey"}, one: true,
	},
	routes.GetTimeline: {
		goCall: "Timeline(ctx, %s)", goQuery: "client.TimelineQuery",
		goFields: map[string]string{"subject": "Subject", "source": "Sources", "since": "Since", "until": "Until",
			"spans": "Spans"},
		tsCall: "timeline(%s)", tsPlain: []string{"subject", "source"},
		tsFields: map[string]string{"since": "since", "until": "until", "spans": "spans"}, one: true,
	},
	routes.GetTop: {
		goCall: "Top(ctx, %s)", goQuery: "client.TopQuery",
		goFields: map[string]string{"source": "Source", "hours": "Hours", "hydrate": "Hydrate", "limit": "Limit"},
		tsCall:   "top(%s)",
		tsFields: map[string]string{"source": "source", "hours": "hours", "hydrate": "hydrate", "limit": "limit"}, one: true,
	},
	routes.Events: {
		goCall: "Events(ctx, %s, 0)", goQuery: "client.Filter",
		goFields: map[string]string{"wantedSubjects": "Subjects", "wantedSubjectPrefixes": "SubjectPrefixes",
			"wantedSubjectDids": "SubjectDIDs",
			"wantedSources":     "Sources", "wantedCollections": "Collections", "wantedActors": "Actors",
			"accounts": "Accounts", "hydrate": "Hydrate"},
		tsCall: "events(%s)",
		tsFields: map[string]string{"wantedSubjects": "subjects", "wantedSubjectPrefixes": "subjectPrefixes",
			"wantedSubjectDids": "subjectDids",
			"wantedSources":     "sources", "wantedCollections": "collections", "wantedActors": "actors",
			"accounts": "accounts", "hydrate": "hydrate"},
	},
}

// callOf returns the clients' call of a query. ok is false if the clients lack the method or a parameter.
func callOf(def *lexicons.Def, q *question) (clientCall, bool) {
	c, ok := clientCalls[routes.At(def.Path)]
	if !ok {
		return c, false
	}
	for _, name := range c.tsPlain {
		if _, given := q.get(name); !given {
			return c, false
		}
	}
	for _, v := range q.values {
		if c.tsFields[v[0]] == "" && !slices.Contains(c.tsPlain, v[0]) {
			return c, false
		}
	}
	return c, true
}

// address returns the URL of a query.
func address(def *lexicons.Def, origin string, q *question) string {
	if query := q.encoded(); query != "" {
		return origin + def.Path + "?" + query
	}
	return origin + def.Path
}

func curlCode(def *lexicons.Def, origin string, q *question) string {
	at := shellText(address(def, origin, q))
	switch {
	case q.body != nil:
		return "curl -H 'Content-Type: application/json' " + at + " \\\n  -d " + shellText(compact(q.body.Value))
	case streamOf(def) == routes.ServerEvents:
		return "curl -N " + at // without -N, curl waits for a full buffer
	case streamOf(def) == routes.WebSocket:
		return "websocat " + strings.Replace(at, "http", "ws", 1)
	}
	return "curl " + at
}

// shellText quotes a text for a shell.
func shellText(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }

// compact returns JSON on one line, and other text without invisible characters. A reader must see everything that a
// program does, so invisible characters are escaped or dropped.
func compact(text string) string {
	var b bytes.Buffer
	if json.Compact(&b, []byte(text)) != nil {
		return strings.Map(func(r rune) rune {
			if strconv.IsPrint(r) {
				return r
			}
			return ' '
		}, text)
	}
	return escapeUnseen(b.String())
}

// escapeUnseen escapes invisible characters in JSON, which occur in strings only.
func escapeUnseen(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case strconv.IsPrint(r):
			b.WriteRune(r)
		case r < 1<<16:
			fmt.Fprintf(&b, `\u%04x`, r)
		default:
			high, low := utf16.EncodeRune(r)
			fmt.Fprintf(&b, `\u%04x\u%04x`, high, low)
		}
	}
	return b.String()
}

// goCode returns a complete Go program.
func goCode(def *lexicons.Def, origin string, q *question) string {
	var b strings.Builder
	if c, ok := callOf(def, q); ok {
		b.WriteString("package main\n\nimport (\n\"context\"\n\"fmt\"\n\"log\"\n")
		if timed(q) {
			b.WriteString("\"time\"\n")
		}
		b.WriteString("\n\"weft.dev/weft/client\"\n)\n\nfunc main() {\nctx := context.Background()\nc := client.New(" +
			strconv.Quote(origin) + ")\n")
		call := "c." + fmt.Sprintf(c.goCall, goArguments(&c, def, q))
		if c.one {
			b.WriteString("answer, err := " + call + "\nif err != nil {\nlog.Fatal(err)\n}\nfmt.Println(answer)\n}\n")
		} else {
			b.WriteString("for item, err := range " + call +
				" {\nif err != nil {\nlog.Fatal(err)\n}\nfmt.Printf(\"%+v\\n\", item)\n}\n}\n")
		}
		if timed(q) {
			b.WriteString("\nfunc at(text string) time.Time {\nt, err := time.Parse(time.RFC3339, text)\nif err != nil " +
				"{\nlog.Fatal(err)\n}\nreturn t\n}\n")
		}
		return gofmt(b.String())
	}
	switch kind := streamOf(def); {
	case kind == routes.WebSocket:
		at := strings.Replace(address(def, origin, q), "http", "ws", 1)
		b.WriteString("package main\n\nimport " +
			"(\n\"context\"\n\"fmt\"\n\"log\"\n\n\"github.com/coder/websocket\"\n)\n\nfunc main() {\nctx := " +
			"context.Background()\n" +
			"conn, _, err := websocket.Dial(ctx, " + strconv.Quote(at) +
			", nil)\nif err != nil {\nlog.Fatal(err)\n}\ndefer conn.CloseNow()\n" +
			"for {\n_, frame, err := conn.Read(ctx)\nif err != nil {\nlog.Fatal(err)\n}\nfmt.Printf(\"%s\\n\", frame)\n}\n}\n")
	case kind == routes.ServerEvents:
		b.WriteString("package main\n\nimport (\n\"bufio\"\n\"fmt\"\n\"log\"\n\"net/http\"\n)\n\nfunc main() {\nres, err " +
			":= http.Get(" + strconv.Quote(address(def, origin, q)) +
			")\nif err != nil {\nlog.Fatal(err)\n}\ndefer res.Body.Close()\nlines := bufio.NewScanner(res.Body)\nfor " +
			"lines.Scan() {\nfmt.Println(lines.Text())\n}\nlog.Fatal(lines.Err())\n}\n")
	case def.Output.Schema == nil:
		b.WriteString("package main\n\nimport (\n\"io\"\n\"log\"\n\"net/http\"\n\"os\"\n)\n\nfunc main() {\nres, err := " +
			"http.Get(" + strconv.Quote(address(def, origin, q)) +
			")\nif err != nil {\nlog.Fatal(err)\n}\ndefer res.Body.Close()\n" +
			"if res.StatusCode != http.StatusOK {\nlog.Fatal(res.Status)\n}\n" +
			"if _, err := io.Copy(os.Stdout, res.Body); err != nil {\nlog.Fatal(err)\n}\n}\n")
	default:
		b.WriteString("package main\n\nimport (\n\"encoding/json\"\n\"fmt\"\n\"log\"\n\"net/http\"\n")
		ask := "http.Get(" + strconv.Quote(address(def, origin, q)) + ")"
		if q.body != nil {
			b.WriteString("\"strings\"\n")
			ask = "http.Post(" + strconv.Quote(address(def, origin, q)) + ", \"application/json\", strings.NewReader(" +
				goText(compact(q.body.Value)) + "))"
		}
		b.WriteString(")\n\nfunc main() {\nres, err := " + ask +
			"\nif err != nil {\nlog.Fatal(err)\n}\ndefer res.Body.Close()\n" +
			"if res.StatusCode != http.StatusOK {\nlog.Fatal(res.Status)\n}\nvar answer " + goType(def.Output.Schema, false) +
			"\nif err := json.NewDecoder(res.Body).Decode(&answer); err != nil {\nlog.Fatal(err)\n}\nfmt.Printf(\"%+v\\n\", " +
			"answer)\n}\n")
	}
	return gofmt(b.String())
}

func gofmt(text string) string {
	b, err := format.Source([]byte(text))
	if err != nil {
		panic(err) // TestCode checks that every generated program parses
	}
	return string(b)
}

// goText returns a Go literal, raw if that is more readable.
func goText(text string) string {
	if strings.Contains(text, `"`) && strconv.CanBackquote(text) && !strings.ContainsFunc(text,
		func(r rune) bool { return !strconv.IsPrint(r) }) {
		return "`" + text + "`"
	}
	return strconv.Quote(text)
}

// timed reports whether a query has a time parameter.
func timed(q *question) bool {
	_, since := q.get("since")
	_, until := q.get("until")
	return since || until
}

func goArguments(c *clientCall, def *lexicons.Def, q *question) string {
	if c.goQuery == "" {
		texts := make([]string, len(c.tsPlain))
		for i, name := range c.tsPlain {
			v, _ := q.get(name)
			texts[i] = strconv.Quote(v)
		}
		return strings.Join(texts, ", ")
	}
	var fields []string
	each(def, q, func(name string, p *lexicons.Schema, values []string) {
		texts := make([]string, len(values))
		for i, v := range values {
			switch {
			case p.Format == "datetime":
				texts[i] = "at(" + strconv.Quote(v) + ")"
			case p.Type == "integer", p.Type == "boolean":
				texts[i] = plain(p, v)
			default:
				texts[i] = strconv.Quote(v)
			}
		}
		value := texts[0]
		if p.Type == "array" {
			value = "[]string{" + strings.Join(texts, ", ") + "}"
		}
		fields = append(fields, c.goFields[name]+": "+value)
	})
	if len(fields) < 3 {
		return c.goQuery + "{" + strings.Join(fields, ", ") + "}"
	}
	return c.goQuery + "{\n" + strings.Join(fields, ",\n") + ",\n}"
}

// each calls do for the parameters with values.
func each(def *lexicons.Def, q *question, do func(name string, p *lexicons.Schema, values []string)) {
	if def.Parameters == nil {
		return
	}
	for i := range def.Parameters.Properties {
		p := &def.Parameters.Properties[i]
		if values := q.all(p.Name); len(values) > 0 {
			do(p.Name, &p.Schema, values)
		}
	}
}

// plain returns a number or boolean as a literal. An invalid value becomes a string literal: the API refuses it, and so
// does the compiler.
func plain(p *lexicons.Schema, v string) string {
	if p.Type == "boolean" && (v == "true" || v == "false") {
		return v
	}
	if n, err := strconv.ParseInt(v, 10, 64); p.Type == "integer" && err == nil {
		return strconv.FormatInt(n, 10)
	}
	return strconv.Quote(v)
}

// tsText returns a TypeScript literal; JSON strings are valid TypeScript.
func tsText(text string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(text); err != nil {
		panic(err) // a string
	}
	inner := escapeUnseen(strings.TrimSuffix(b.String(), "\n"))
	if !strings.ContainsAny(inner, `'\`) {
		return "'" + inner[1:len(inner)-1] + "'"
	}
	return inner
}

// tsCode returns a TypeScript module.
func tsCode(def *lexicons.Def, origin string, q *question) string {
	at := tsText(address(def, origin, q))
	if c, ok := callOf(def, q); ok {
		text := "import { Client } from '@weft/client'\n\nconst client = new Client(" + tsText(origin) + ")\n"
		call := "client." + fmt.Sprintf(c.tsCall, tsArguments(&c, def, q))
		if c.one {
			return text + "console.log(await " + call + ")\n"
		}
		return text + "for await (const item of " + call + ") {\n  console.log(item)\n}\n"
	}
	switch streamOf(def) {
	case routes.WebSocket:
		return "const socket = new WebSocket(" + strings.Replace(at, "http", "ws", 1) +
			")\nsocket.onmessage = (event) => console.log(event.data)\n"
	case routes.ServerEvents:
		return "const source = new EventSource(" + at +
			")\nsource.addEventListener('record', (event) => console.log(event.data))\n"
	}
	ask := "fetch(" + at + ")"
	if def.Output.Schema == nil {
		return "const res = await " + ask + "\nif (!res.ok) throw new Error(await res.text())\n" +
			"console.log(await res.text())\n"
	}
	if q.body != nil {
		ask = "fetch(" + at + ", {\n  method: '" + http.MethodPost +
			"',\n  headers: { 'Content-Type': 'application/json' },\n  body: " + tsText(compact(q.body.Value)) + ",\n})"
	}
	return "const res = await " + ask +
		"\nif (!res.ok) throw new Error(await res.text())\nconst answer = (await res.json()) as " +
		tsType(def.Output.Schema, false, "") + "\nconsole.log(answer)\n"
}

func tsArguments(c *clientCall, def *lexicons.Def, q *question) string {
	literals := func(p *lexicons.Schema, values []string) string {
		texts := make([]string, len(values))
		for i, v := range values {
			texts[i] = tsText(v)
			if p.Type == "integer" || p.Type == "boolean" {
				texts[i] = plain(p, v)
			}
		}
		if p.Type == "array" {
			return "[" + strings.Join(texts, ", ") + "]"
		}
		return texts[0]
	}
	arguments := make([]string, 0, len(c.tsPlain)+1)
	for _, name := range c.tsPlain {
		arguments = append(arguments, literals(def.Param(name), q.all(name)))
	}
	var fields []string
	each(def, q, func(name string, p *lexicons.Schema, values []string) {
		if option := c.tsFields[name]; option != "" {
			fields = append(fields, option+": "+literals(p, values))
		}
	})
	if len(fields) > 0 {
		arguments = append(arguments, "{ "+strings.Join(fields, ", ")+" }")
	}
	return strings.Join(arguments, ", ")
}
