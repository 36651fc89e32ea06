package config

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"gopkg.in/yaml.v3"
)

// merged returns a mapping with the fields of its key "<<". The mapping's own fields win.
func (p *parser) merged(n *yaml.Node, name string) (*yaml.Node, error) {
	n = follow(n)
	if !has(n, "<<") {
		return n, nil
	}
	out := *n
	out.Content = nil
	var from []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value != "<<" {
			out.Content = append(out.Content, n.Content[i], n.Content[i+1])
			continue
		}
		from = []*yaml.Node{n.Content[i+1]}
		if n.Content[i+1].Kind == yaml.SequenceNode {
			from = n.Content[i+1].Content
		}
	}
	for _, f := range from {
		f = follow(f)
		if f.Kind != yaml.MappingNode || has(f, "<<") {
			return nil, p.errorf(f, name+".<<", "takes up the fields of another mapping, which takes up none itself")
		}
		for i := 0; i+1 < len(f.Content); i += 2 {
			if !has(&out, f.Content[i].Value) {
				out.Content = append(out.Content, f.Content[i], f.Content[i+1])
			}
		}
	}
	return &out, nil
}

// object reads a mapping.
func (p *parser) object(n *yaml.Node, name string, known fields) error {
	n, err := p.merged(n, name)
	if err != nil {
		return err
	}
	if n.Kind == yaml.ScalarNode && (n.Tag == "!!null" || isUnset(n.Value)) {
		return nil // "snapshot:" with nothing behind it
	}
	if n.Kind != yaml.MappingNode {
		return p.errorf(n, name, "has fields of its own, and none are here")
	}
	var seen []string
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := n.Content[i]
		value := follow(n.Content[i+1])
		full := key.Value
		if name != "" {
			full = name + "." + full
		}
		read, ok := known[key.Value]
		switch {
		case slices.Contains(seen, key.Value):
			return p.errorf(key, full, "appears twice")
		case !ok:
			names := make([]string, 0, len(known))
			for k := range known {
				names = append(names, k)
			}
			slices.Sort(names)
			return p.errorf(key, full, "is not a field that weft knows here; it knows "+strings.Join(names, ", "))
		}
		seen = append(seen, key.Value)
		if err := read(value, full); err != nil {
			return err
		}
	}
	return nil
}

// list reads a sequence.
func (p *parser) list(n *yaml.Node, name string, item func(n *yaml.Node, name string) error) error {
	if n.Kind != yaml.SequenceNode {
		return p.errorf(n, name, "must be a list, each entry with a dash")
	}
	for i, e := range n.Content {
		if err := item(follow(e), fmt.Sprintf("%s[%d]", name, i)); err != nil {
			return err
		}
	}
	return nil
}

// one reads a sequence with one element.
func (p *parser) one(n *yaml.Node, name, what string, item func(n *yaml.Node, name string) error) error {
	if n.Kind == yaml.SequenceNode && len(n.Content) != 1 {
		return p.errorf(n, name, fmt.Sprintf("has %d entries; weft replicates one %s", len(n.Content), what))
	}
	return p.list(n, name, item)
}

func (p *parser) scalar(n *yaml.Node, name string) (string, error) {
	if n.Kind != yaml.ScalarNode {
		return "", p.errorf(n, name, "must be a single value")
	}
	if n.Tag == "!!null" {
		return "", nil
	}
	for i, part := range strings.Split(n.Value, unsetMark) {
		if i%2 == 1 && strings.Trim(part, wordBytes) != "" {
			return "", p.errorf(n, name,
				fmt.Sprintf("has ${%s}: Litestream knows ${NAME} alone, without a default", part))
		}
	}
	return withoutUnset(n.Value), nil
}

// wordBytes are the bytes that names of variables may have.
const wordBytes = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_"

// withoutUnset returns a value with empty text in place of unset variables.
func withoutUnset(value string) string {
	parts := strings.Split(value, unsetMark)
	for i := 1; i < len(parts); i += 2 {
		parts[i] = ""
	}
	return strings.Join(parts, "")
}

// isUnset reports whether a value consists of unset variables only.
func isUnset(value string) bool {
	return strings.Contains(value, unsetMark) && withoutUnset(value) == ""
}

// place reads a location. An unset variable in it is an error, because the result would be another location.
func (p *parser) place(into *string) func(*yaml.Node, string) error {
	return func(n *yaml.Node, name string) (err error) {
		*into, err = p.scalar(n, name)
		if err != nil || *into == "" {
			return err
		}
		if parts := strings.Split(n.Value, unsetMark); len(parts) > 1 {
			return p.errorf(n, name, fmt.Sprintf("needs the environment variable %s, which is not set: without it, "+
				"the location would be %q", parts[1], *into))
		}
		return nil
	}
}

// only reads a flag for which weft supports one value.
func (p *parser) only(value, why string) func(*yaml.Node, string) error {
	return func(n *yaml.Node, name string) error {
		if err := p.flag(new(*bool))(n, name); err != nil {
			return err
		}
		if n.Value != value {
			return p.errorf(n, name, fmt.Sprintf("is %s: %s", n.Value, why))
		}
		return nil
	}
}

func (p *parser) text(into *string) func(*yaml.Node, string) error {
	return func(n *yaml.Node, name string) (err error) {
		*into, err = p.scalar(n, name)
		return err
	}
}

func (p *parser) duration(into *time.Duration) func(*yaml.Node, string) error {
	return func(n *yaml.Node, name string) error {
		v, err := p.scalar(n, name)
		if err != nil {
			return err
		}
		*into, err = time.ParseDuration(v)
		if err != nil || *into <= 0 {
			return p.errorf(n, name, fmt.Sprintf("is %q, but must be a duration above zero such as 30s, 5m or 24h", v))
		}
		return nil
	}
}

func (p *parser) count(into *int) func(*yaml.Node, string) error {
	return func(n *yaml.Node, name string) error {
		v, err := p.scalar(n, name)
		if err != nil {
			return err
		}
		*into, err = strconv.Atoi(v)
		if err != nil || *into <= 0 {
			return p.errorf(n, name, fmt.Sprintf("is %q, but must be a whole number above zero", v))
		}
		return nil
	}
}

func (p *parser) size(into *int64) func(*yaml.Node, string) error {
	return func(n *yaml.Node, name string) error {
		v, err := p.scalar(n, name)
		if err != nil {
			return err
		}
		const least = 5 << 20 // the minimum of S3
		size, err := humanize.ParseBytes(v)
		if err != nil || size < least || size > 5<<30 {
			return p.errorf(n, name, fmt.Sprintf("is %q, but must be a size from 5MiB to 5GiB such as 64MB", v))
		}
		*into = int64(size)
		return nil
	}
}

func (p *parser) flag(into **bool) func(*yaml.Node, string) error {
	return func(n *yaml.Node, name string) error {
		v, err := p.scalar(n, name)
		if err != nil {
			return err
		}
		if v != "true" && v != "false" {
			return p.errorf(n, name, fmt.Sprintf("is %q, but must be true or false", v))
		}
		is := v == "true"
		*into = &is
		return nil
	}
}

// errorf is an error about a field, with its line.
func (p *parser) errorf(n *yaml.Node, name, what string) error {
	if name == "" {
		return fmt.Errorf("%s:%d: the file %s", p.file, n.Line, what)
	}
	return fmt.Errorf("%s:%d: %s %s", p.file, n.Line, name, what)
}

// perhaps returns a possible reason for an empty value.
func (p *parser) perhaps() string {
	if len(p.unset) == 0 {
		return ""
	}
	return "; these environment variables are not set: " + strings.Join(p.unset, ", ")
}

// follow returns the node for which an alias stands.
func follow(n *yaml.Node) *yaml.Node {
	if n.Kind == yaml.AliasNode {
		return n.Alias
	}
	return n
}

func has(n *yaml.Node, field string) bool {
	if n.Kind != yaml.MappingNode {
		return false
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == field {
			return true
		}
	}
	return false
}
