package api

import (
	"strconv"

	"weft.dev/weft/api/stream"
	"weft.dev/weft/api/wire"
	"weft.dev/weft/db"
)

// The messages of the streams are written without reflection: with a thousand subscribers, a process spends most of its
// time on them.

// appendLink appends a message of /subscribe. Its cursor resumes after the log row, or before it if more links of the
// row follow.
func appendLink(dst []byte, e *stream.Event, l *stream.Link, replay, more bool) []byte {
	dst = append(dst, `{"kind":"link","origin":`...)
	dst = appendOrigin(dst, replay)
	dst = append(dst, `,"link":{"operation":`...)
	if l.Removed {
		dst = append(dst, `"delete"`...)
	} else {
		dst = append(dst, `"create"`...)
	}
	dst = append(dst, `,"source":`...)
	dst = wire.AppendString(dst, l.Source)
	dst = append(dst, `,"source_record":"at://`...)
	dst = append(dst, e.DID...)
	dst = append(dst, '/')
	dst = append(dst, e.Collection...)
	dst = append(dst, '/')
	dst = append(dst, e.Rkey...) // none of the three has characters that JSON escapes
	dst = append(dst, `","source_rev":"`...)
	dst = append(dst, e.Rev...)
	dst = append(dst, `","subject":`...)
	dst = wire.AppendString(dst, l.Subject)
	cursor := e.Seq
	if more {
		cursor--
	}
	dst = append(dst, `},"cursor":`...)
	dst = strconv.AppendUint(dst, cursor, 10)
	return append(dst, '}')
}

// appendAccountFrame writes the change of an account for /subscribe.
func appendAccountFrame(dst []byte, e *stream.Event, replay bool) []byte {
	dst = append(dst, `{"kind":"account","origin":`...)
	dst = appendOrigin(dst, replay)
	dst = append(dst, `,"account":`...)
	dst = appendAccount(dst, e)
	dst = append(dst, `,"cursor":`...)
	dst = strconv.AppendUint(dst, e.Seq, 10)
	return append(dst, '}')
}

// appendEvent writes an event of /events with those of its links that are in wanted, and with the content of the
// record if there is any.
func appendEvent(dst []byte, e *stream.Event, wanted []int, c wire.Content, replay bool) []byte {
	kind := "record"
	if e.Op == db.OpAccount {
		kind = "account"
	}
	dst = append(dst, "id: "...)
	dst = strconv.AppendUint(dst, e.Seq, 10)
	dst = append(dst, "\nevent: "...)
	dst = append(dst, kind...)
	dst = append(dst, "\ndata: {\"kind\":\""...)
	dst = append(dst, kind...)
	dst = append(dst, `","origin":`...)
	dst = appendOrigin(dst, replay)
	if kind == "account" {
		dst = append(dst, `,"account":`...)
		dst = appendAccount(dst, e)
	} else {
		dst = append(dst, `,"operation":`...)
		dst = append(dst, operations[e.Op]...)
		dst = append(dst, `,"did":"`...)
		dst = append(dst, e.DID...)
		dst = append(dst, `","collection":"`...)
		dst = append(dst, e.Collection...)
		dst = append(dst, `","rkey":"`...)
		dst = append(dst, e.Rkey...)
		dst = append(dst, `","rev":"`...)
		dst = append(dst, e.Rev...)
		dst = append(dst, '"')
		dst = appendLinks(dst, `,"removed":[`, e, wanted, true)
		dst = appendLinks(dst, `,"added":[`, e, wanted, false)
		if c.Value != nil {
			dst = append(dst, `,"cid":`...)
			dst = wire.AppendString(dst, c.CID)
			dst = append(dst, `,"value":`...)
			dst = append(dst, c.Value...)
		}
	}
	dst = append(dst, `,"time":"`...)
	dst = append(dst, timeText(e.TimeUS)...)
	dst = append(dst, `","cursor":`...)
	dst = strconv.AppendUint(dst, e.Seq, 10)
	return append(dst, "}\n\n"...)
}

var operations = map[db.Op]string{db.OpCreate: `"create"`, db.OpUpdate: `"update"`, db.OpDelete: `"delete"`}

// appendLinks appends the wanted links of an event that it added, or those that it removed.
func appendLinks(dst []byte, head string, e *stream.Event, wanted []int, removed bool) []byte {
	dst = append(dst, head...)
	first := true
	for _, i := range wanted {
		l := &e.Links[i]
		if l.Removed != removed {
			continue
		}
		if !first {
			dst = append(dst, ',')
		}
		first = false
		dst = append(dst, `{"source":`...)
		dst = wire.AppendString(dst, l.Source)
		dst = append(dst, `,"subject":`...)
		dst = wire.AppendString(dst, l.Subject)
		dst = append(dst, '}')
	}
	return append(dst, ']')
}

func appendAccount(dst []byte, e *stream.Event) []byte {
	dst = append(dst, `{"did":"`...)
	dst = append(dst, e.DID...)
	dst = append(dst, `","active":`...)
	dst = strconv.AppendBool(dst, e.Status == db.StatusActive)
	dst = append(dst, `,"status":"`...)
	dst = append(dst, e.Status.String()...)
	return append(dst, `"}`...)
}

func appendOrigin(dst []byte, replay bool) []byte {
	if replay {
		return append(dst, `"replay"`...)
	}
	return append(dst, `"live"`...)
}
