package web

import (
	"strings"

	"weft.dev/weft/humanize"
	"weft.dev/weft/link"
)

// subjectLink is a link to the page of a subject, with its description: "post by alice.example".
type subjectLink struct {
	Href     string
	Text     string // noun of a record, or its collection and key; otherwise the shortened target
	Article  string // article before Text in a sentence, with a space; empty if Text isn't a noun
	Kind     string // kind of the target; empty if Text has it
	DID, Who string // account that the target is or belongs to, and its name; empty: none
	Of       bool   // the target belongs to the account
}

// subjectLink describes a target.
func (s *Server) subjectLink(target string) subjectLink {
	l := subjectLink{Href: explore(target), Text: targetText(target), Kind: kindText(target), DID: accountOfTarget(target)}
	if l.DID == "" {
		return l
	}
	l.Who = s.name(l.DID)
	if _, collection, rkey, ok := link.SplitRecord(target); ok && collection != "" {
		l.Of = true
		l.Text = strings.TrimRight(collection+"/"+rkey, "/")
		if noun := recordNouns[collection]; noun != "" && rkey != "" {
			l.Text = noun
			l.Article = article(noun)
			l.Kind = ""
		}
	}
	return l
}

// alone returns the link for use outside a sentence: a noun is capitalised.
func (l subjectLink) alone() subjectLink {
	if l.Article != "" {
		l.Text = humanize.Capital(l.Text)
	}
	return l
}

// article returns the indefinite article of a noun, with a space.
func article(noun string) string {
	if strings.ContainsRune("aeiou", rune(noun[0])) {
		return "an "
	}
	return "a "
}
