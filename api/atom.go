package api

import (
	"bytes"
	"encoding/xml"
	"strings"
	"time"
	"unicode"
)

// This file writes Atom (RFC 4287). All text in a feed is plain text: no markup of a record reaches a reader.

// tagPrefix begins the ids of feeds and entries (RFC 4151). They don't depend on the server, so that a feed survives a
// move to another address.
const tagPrefix = "tag:weft.dev,2026:"

type atomFeed struct {
	XMLName   xml.Name    `xml:"http://www.w3.org/2005/Atom feed"`
	ID        string      `xml:"id"`
	Title     string      `xml:"title"`
	Updated   string      `xml:"updated"`
	Generator string      `xml:"generator"`
	Links     []atomLink  `xml:"link"`
	Entries   []atomEntry `xml:"entry"`
}

type atomEntry struct {
	ID        string       `xml:"id"`
	Title     string       `xml:"title"`
	Updated   string       `xml:"updated"`
	Published string       `xml:"published"`
	Author    atomAuthor   `xml:"author"`
	Links     []atomLink   `xml:"link"`
	Category  atomCategory `xml:"category"`
	Summary   string       `xml:"summary"`
}

type atomAuthor struct {
	Name string `xml:"name"`
	URI  string `xml:"uri"`
}

type atomLink struct {
	Rel  string `xml:"rel,attr"`
	Type string `xml:"type,attr,omitempty"`
	Href string `xml:"href,attr"`
}

type atomCategory struct {
	Term string `xml:"term,attr"`
}

// encode returns the document. encoding/xml escapes markup, and replaces characters that XML forbids by U+FFFD.
func (f *atomFeed) encode() []byte {
	var b bytes.Buffer
	b.WriteString(xml.Header)
	if err := xml.NewEncoder(&b).Encode(f); err != nil {
		panic(err) // of texts
	}
	return b.Bytes()
}

// atomTime formats a time; the zero time becomes 1970.
func atomTime(t time.Time) string {
	if t.IsZero() {
		t = time.Unix(0, 0).UTC()
	}
	return t.Format("2006-01-02T15:04:05.000000Z")
}

// visible drops control characters except newlines and tabs, and characters that change the text direction: in a feed
// reader these would affect the text around.
func visible(r rune) rune {
	switch {
	case r == '\n', r == '\t':
		return r
	case r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069, r == 0x200e, r == 0x200f, r == 0x061c:
		return -1
	case unicode.IsControl(r), r == 0x2028, r == 0x2029:
		return -1
	}
	return r
}

// oneLine returns a text as one line of at most most characters.
func oneLine(text string, most int) string {
	return shorten(strings.Join(strings.Fields(strings.Map(visible, text)), " "), most)
}

// summary returns a text with its lines, of at most maxSummary characters.
func summary(text string) string {
	return shorten(strings.TrimSpace(strings.Map(visible, text)), maxSummary)
}

// shorten cuts a text after most characters.
func shorten(text string, most int) string {
	n := 0
	for i := range text {
		if n == most {
			return text[:i] + "…"
		}
		n++
	}
	return text
}
