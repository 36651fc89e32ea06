// Package checkpoint parses and evaluates the rule that says when the WAL is checkpointed, and puts off a checkpoint
// that was blocked.
package checkpoint

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// PageBytes is SQLite's default page size, and FrameBytes the size of a page in the WAL, with its header.
const (
	PageBytes  = 4096
	FrameBytes = PageBytes + 24
)

// Rule says when the writer checkpoints: a term or a combination of terms. Parse reads it:
//
//	rule  = "off" | any .
//	any   = all { "|" all } .                  one of them is enough
//	all   = item { "&" item } .                every one must hold; binds tighter than |
//	item  = "(" any ")" | term .
//	term  = count "frames"                     frames in the WAL since it was last emptied: a page and 24 bytes each
//	      | count ( "MB" | "MiB" )             the same as a size, at pages of 4 KiB
//	      | duration .                         time since the last complete checkpoint, as Go writes it: 30s, 5m, 1h30m
//	count = digit { digit } .                  1 to 2147483647
//
// White space has no meaning. "off" is never due: a replicator checkpoints then. The zero Rule is unset and never due.
type Rule struct {
	op   ruleOp
	n    int64  // of a term: frames, nanoseconds or units of size
	args []Rule // of | and &: two or more, none with the same op
}

type ruleOp byte

const (
	ruleNone ruleOp = iota
	ruleOff
	ruleAny
	ruleAll
	ruleFrames
	ruleMB
	ruleMiB
	ruleTime
)

// sizes are the terms that count frames, by their units.
var sizes = map[string]ruleOp{"frames": ruleFrames, "MB": ruleMB, "MiB": ruleMiB}

// Due reports whether a WAL of so many frames is due for a checkpoint this long after the last complete one. A rule
// that is due stays due with more frames or more time.
func (r Rule) Due(frames int, since time.Duration) bool {
	switch r.op {
	case ruleAny:
		for _, a := range r.args {
			if a.Due(frames, since) {
				return true
			}
		}
	case ruleAll:
		for _, a := range r.args {
			if !a.Due(frames, since) {
				return false
			}
		}
		return true
	case ruleFrames:
		return int64(frames) >= r.n
	case ruleMB:
		return int64(frames)*FrameBytes >= r.n*1_000_000
	case ruleMiB:
		return int64(frames)*FrameBytes >= r.n<<20
	case ruleTime:
		return int64(since) >= r.n
	}
	return false
}

// Off reports whether the rule leaves checkpoints to a replicator.
func (r Rule) Off() bool { return r.op == ruleOff }

// IsZero reports whether the rule is unset.
func (r Rule) IsZero() bool { return r.op == ruleNone }

// String returns the rule as Parse reads it, with one spelling for one meaning.
func (r Rule) String() string {
	sep := " | "
	switch r.op {
	case ruleNone:
		return ""
	case ruleOff:
		return "off"
	case ruleTime:
		return shortDuration(time.Duration(r.n))
	case ruleAll:
		sep = " & "
	case ruleAny:
	default:
		for unit, op := range sizes {
			if op == r.op {
				return strconv.FormatInt(r.n, 10) + " " + unit
			}
		}
	}
	parts := make([]string, len(r.args))
	for i, a := range r.args {
		parts[i] = a.String()
		if len(a.args) > 0 {
			parts[i] = "(" + parts[i] + ")"
		}
	}
	return strings.Join(parts, sep)
}

// shortDuration removes the trailing zeroes that time.Duration writes: 5m, and not 5m0s.
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// Default returns the rule for a store without a replicator. The rule doesn't change how much is written to the WAL. It
// decides how often the pages that many commits touch are written to the database, and how long the WAL is that readers
// search and that a start reads after a crash.
//
//   - 1000 frames & 30s: at the network's pace of some 400 events a second, a WAL of 4 to 6 MB, and two checkpoints a
//     minute. They move as much as at a fixed 16 MiB, in three times as many steps, and each step stops the writer
//     for less.
//   - 20000 frames: in a backfill, whose 30 seconds would be some 200 MB. A million events cost 2 % fewer bytes
//     written than at 16 MiB, and the same time within the noise; a larger WAL saves no more, and the writer stops
//     while 80 MB are written.
//   - 5m: with few events, a copy of weft.db alone is at most this old.
func Default() Rule {
	return Rule{op: ruleAny, args: []Rule{
		{op: ruleTime, n: int64(5 * time.Minute)},
		{op: ruleFrames, n: 20_000},
		{op: ruleAll, args: []Rule{{op: ruleFrames, n: 1000}, {op: ruleTime, n: int64(30 * time.Second)}}},
	}}
}

// maxRule bounds how deep parentheses nest, in bytes of text.
const maxRule = 1000

// Parse reads a rule; Rule has the grammar.
func Parse(text string) (Rule, error) {
	p := ruleParser{text: text}
	if len(text) > maxRule {
		p.at = maxRule
		return Rule{}, p.want("the end, after at most " + strconv.Itoa(maxRule) + " bytes")
	}
	p.next()
	if p.token == "off" {
		p.next()
		if p.token != "" {
			return Rule{}, p.want("the end after off")
		}
		return Rule{op: ruleOff}, nil
	}
	r, err := p.any()
	if err == nil && p.token != "" {
		err = p.want(`"|", "&" or the end`)
	}
	if err != nil {
		return Rule{}, err
	}
	return r, nil
}

// ruleParser is a recursive-descent parser with a method for each line of the grammar and one token of look-ahead.
type ruleParser struct {
	text  string
	at    int    // where token begins
	end   int    // where the next begins, or the white space before it
	token string // a word of letters, digits and dots, or one other byte; empty at the end
}

func (p *ruleParser) next() {
	rest := strings.TrimLeft(p.text[p.end:], " \t\r\n")
	p.at = len(p.text) - len(rest)
	n := len(rest) - len(strings.TrimLeftFunc(rest, isWord))
	p.token = rest[:max(n, min(1, len(rest)))]
	p.end = p.at + len(p.token)
}

func isWord(r rune) bool {
	return '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || r == '.' || r == 'µ' || r == 'μ'
}

// want returns the error for an unexpected token.
func (p *ruleParser) want(what string) error {
	found := "the end"
	if p.at < len(p.text) {
		found = strconv.Quote(cmp.Or(p.token, p.text[p.at:p.at+1]))
	}
	return fmt.Errorf("position %d of the rule: expected %s, found %s", p.at+1, what, found)
}

func (p *ruleParser) any() (Rule, error) { return p.list("|", ruleAny, p.all) }

func (p *ruleParser) all() (Rule, error) { return p.list("&", ruleAll, p.item) }

// list reads one or more parts with sep between them. A part of the same op, which had parentheses, is merged into the
// list.
func (p *ruleParser) list(sep string, op ruleOp, part func() (Rule, error)) (Rule, error) {
	list := Rule{op: op}
	for {
		r, err := part()
		if err != nil {
			return Rule{}, err
		}
		if r.op == op {
			list.args = append(list.args, r.args...)
		} else {
			list.args = append(list.args, r)
		}
		if p.token != sep {
			break
		}
		p.next()
	}
	if len(list.args) == 1 {
		return list.args[0], nil
	}
	return list, nil
}

func (p *ruleParser) item() (Rule, error) {
	if p.token != "(" {
		return p.term()
	}
	p.next()
	r, err := p.any()
	if err != nil {
		return Rule{}, err
	}
	if p.token != ")" {
		return Rule{}, p.want(`"|", "&" or ")"`)
	}
	p.next()
	return r, nil
}

func (p *ruleParser) term() (Rule, error) {
	digits := p.token[:len(p.token)-len(strings.TrimLeft(p.token, "0123456789."))]
	if digits == "" {
		return Rule{}, p.want(`a term such as "20000 frames", "16 MiB" or "5m", or "("`)
	}
	start := *p
	unit := p.token[len(digits):]
	p.next()
	if unit == "" { // white space before it
		if strings.TrimLeftFunc(p.token, isWord) != "" || p.token == "" {
			return Rule{}, p.want("frames, MB, MiB or a unit of time after " + digits)
		}
		unit = p.token
		p.next()
	}
	if op, ok := sizes[unit]; ok {
		n, err := strconv.ParseInt(digits, 10, 32)
		if err != nil || n < 1 {
			return Rule{}, start.want("a whole number from 1 to 2147483647")
		}
		return Rule{op: op, n: n}, nil
	}
	d, err := time.ParseDuration(digits + unit)
	if err != nil || d <= 0 {
		return Rule{}, start.want("frames, MB, MiB or a duration above zero such as 30s, 5m or 1h30m")
	}
	return Rule{op: ruleTime, n: int64(d)}, nil
}
