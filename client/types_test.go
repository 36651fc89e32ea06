package client_test

import (
	"maps"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"weft.dev/weft/api/wire"
)

var (
	tsInterface = regexp.MustCompile(`(?s)export interface (\w+)(?: extends (\w+))? \{\n(.*?)\n\}`)
	tsComment   = regexp.MustCompile(`(?s)/\*\*.*?\*/`)
	tsMember    = regexp.MustCompile(`^(\w+)(\??): (.*)$`)
)

// TestTypeScriptTypes: the interfaces of the TypeScript client have exactly the members of the types in package wire,
// with the same kinds, and optional members are optional in both.
func TestTypeScriptTypes(t *testing.T) {
	t.Parallel()
	source, err := os.ReadFile("ts/src/index.ts")
	if err != nil {
		t.Fatal(err)
	}
	interfaces := map[string]map[string]string{}
	for _, m := range tsInterface.FindAllStringSubmatch(tsComment.ReplaceAllString(string(source), ""), -1) {
		members := map[string]string{}
		for name, kind := range interfaces[m[2]] {
			members[name] = kind
		}
		for line := range strings.SplitSeq(m[3], "\n") {
			if member := tsMember.FindStringSubmatch(strings.TrimSpace(line)); member != nil {
				members[member[1]+member[2]] = kindOfTS(member[3])
			}
		}
		interfaces[m[1]] = members
	}
	event := membersOf(reflect.TypeFor[wire.Event]())
	record := pick(event, "kind", "origin", "operation", "did", "collection", "rkey", "rev", "time", "removed", "added",
		"cursor")
	maps.Copy(record, membersOf(reflect.TypeFor[wire.Content]())) // optional members of a record
	for name, want := range map[string]map[string]string{
		"LinkRecord":     membersOf(reflect.TypeFor[wire.TimedRecord]()),
		"AccountLink":    membersOf(reflect.TypeFor[wire.AccountLink]()),
		"HydratedRecord": membersOf(reflect.TypeFor[wire.RecordLinks]()),
		"Pair":           membersOf(reflect.TypeFor[wire.Pair]()),
		"Count":          membersOf(reflect.TypeFor[wire.PairCount]()),
		"Timeline":       membersOf(reflect.TypeFor[wire.Timeline]()),
		"Top":            membersOf(reflect.TypeFor[wire.Top]()),
		"RecordEvent":    record,
		"AccountEvent":   pick(event, "kind", "origin", "account", "time", "cursor"),
	} {
		if got := interfaces[name]; !reflect.DeepEqual(got, want) {
			t.Errorf("%s has the members %v, and package wire %v", name, got, want)
		}
	}
}

// membersOf returns the kinds of a type's members by name, with a question mark after the name of an optional member.
func membersOf(typ reflect.Type) map[string]string {
	members := map[string]string{}
	for _, f := range reflect.VisibleFields(typ) {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" {
			continue
		}
		if options != "" {
			name += "?"
		}
		members[name] = kindOf(f.Type)
	}
	return members
}

// pick returns the members that every event of a kind has.
func pick(members map[string]string, names ...string) map[string]string {
	some := map[string]string{}
	for _, name := range names {
		kind, ok := members[name]
		if !ok {
			kind = members[name+"?"]
		}
		some[name] = kind
	}
	return some
}

func kindOf(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		if t.Elem().Kind() == reflect.Struct {
			return "object"
		}
		return kindOf(t.Elem()) + " or null"
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 { // json.RawMessage
			return "any"
		}
		return "list"
	case reflect.Struct:
		return "object"
	case reflect.String:
		return "string"
	case reflect.Bool:
		return "boolean"
	}
	return "number"
}

func kindOfTS(text string) string {
	switch {
	case strings.HasSuffix(text, "[]"):
		return "list"
	case strings.HasPrefix(text, "{"):
		return "object"
	case text == "string | null":
		return "string or null"
	case strings.HasPrefix(text, "'"):
		return "string"
	case text == "unknown":
		return "any"
	}
	return text
}
