package web

import (
	"strings"

	"weft.dev/weft/humanize"
	"weft.dev/weft/link"
)

// subjectLink leads from a row to the page of its subject, and says in words what that is: "post by alice.example".
type subjectLink struct {
	Href     string
	Text     string // of a record its noun, or its collection and key; of any other target itself, shortened
	Article  string // before Text within a sentence, with a space; empty where Text is no noun
	Kind     string // what the target is; empty where Text says it
	DID, Who string // the account that the target is, or is of, and its name; empty: it is neither
	Of       bool   // the target is of the account
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

// alone returns the link for a place outside of a sentence: a noun begins with a capital.
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
