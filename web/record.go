package web

import (
	"bytes"
	"encoding/json"
	"strings"

	"weft.dev/weft/api/routes"
	"weft.dev/weft/api/wire"
	"weft.dev/weft/humanize"
	"weft.dev/weft/link"
)

// recordPart is the content and the links of a record.
type recordPart struct {
	Kept   bool   // the content is stored and shown
	Says   string // text of the record, if it has one
	JSON   string // indented; empty: too long to show
	Bytes  int64  // length of the content as JSON
	Groups []forwardGroup
	More   int64  // links that are not in Groups
	Href   string // the record as JSON
}

// forwardGroup is the links of a record at one path.
type forwardGroup struct {
	Name  string // description of the links; empty: no name
	Path  string
	Links []subjectLink
}

// maxForward limits the displayed links of a record: some screens.
const maxForward = 100

// recordOf queries the content and the links of a record; nil if the target isn't a record. It adds links to apps that
// need the content to the target.
func (s *Server) recordOf(a *answer, t *target) (*recordPart, error) {
	did, collection, rkey, ok := link.SplitRecord(t.Text)
	if !ok || rkey == "" {
		return nil, nil
	}
	found, err := recordFound(a, did, collection, rkey)
	if err != nil || found == nil {
		return nil, err
	}
	part := &recordPart{Href: routes.GetRecordLinks.Path + "?" +
		form(append(recordAsked(did, collection, rkey), formatParameter, "json")...)}
	part.Groups, part.More = s.forwardGroups(collection, found.Links)
	if len(found.Value) > 0 {
		part.Kept = true
		part.Says = textOf(found.Value)
		part.Bytes = int64(len(found.Value))
		t.In = s.openIn(did, collection, rkey, found.Value)
	}
	var indented bytes.Buffer
	if part.Bytes <= maxRaw && json.Indent(&indented, found.Value, "", "  ") == nil {
		part.JSON = indented.String()
	}
	return part, nil
}

// recordAsked returns the parameters of a query of a record with its content.
func recordAsked(did, collection, rkey string) []string {
	return []string{"did", did, "collection", collection, "rkey", rkey, "hydrate", "true"}
}

// recordFound returns a record's content and links in the index; nil while the API is busy.
func recordFound(a *answer, did, collection, rkey string) (*wire.RecordLinks, error) {
	found := &wire.RecordLinks{}
	err := a.get(found, routes.GetRecordLinks, recordAsked(did, collection, rkey)...)
	if err == nil {
		return found, nil
	}
	if busy(err) {
		return nil, nil
	}
	return nil, err
}

// forwardGroups groups links by path, in the order of the record, and returns the number of omitted links.
func (s *Server) forwardGroups(collection string, links []wire.Link) (groups []forwardGroup, more int64) {
	at := map[string]int{}
	for i, l := range links {
		if i == maxForward {
			return groups, int64(len(links) - maxForward)
		}
		_, path, _ := strings.Cut(l.Source, ":")
		n, ok := at[path]
		if !ok {
			n = len(groups)
			at[path] = n
			group := forwardGroup{Path: path}
			if k, known := kindOf(collection, path); known {
				group.Name = humanize.Capital(k.verb)
			}
			groups = append(groups, group)
		}
		groups[n].Links = append(groups[n].Links, s.subjectLink(l.Subject).alone())
	}
	return groups, 0
}
