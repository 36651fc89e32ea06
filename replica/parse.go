package replica

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"gopkg.in/yaml.v3"
)

// parser reads a litestream.yml with the line of each value, and takes nothing that it doesn't know: a setting that is
// silently left out is a replica that isn't what its owner believes.
type parser struct {
	file  string
	unset []string // variables that the file names and nobody sets
}

// fields says how each field of a mapping is read.
type fields map[string]func(n *yaml.Node, name string) error

func (p *parser) parse(text []byte) (c Config, err error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return c, fmt.Errorf("%s: %w", p.file, err) // yaml's errors have a line
	}
	if len(doc.Content) == 0 {
		return c, fmt.Errorf("%s is empty: it names a database and its replica under dbs", p.file)
	}
	root := doc.Content[0]
	stock := func(*yaml.Node, string) error { return nil } // settings of the stock program alone
	err = p.object(root, "", fields{
		"snapshot": func(n *yaml.Node, name string) error { return p.snapshot(n, name, &c) },
		"levels": func(n *yaml.Node, name string) error {
			return p.list(n, name, func(n *yaml.Node, name string) error {
				var d time.Duration
				defer func() { c.Levels = append(c.Levels, d) }()
				return p.object(n, name, fields{"interval": p.duration(&d)})
			})
		},
		"validation": func(n *yaml.Node, name string) error {
			return p.object(n, name, fields{"interval": p.duration(&c.ValidationInterval)})
		},
		"shutdown-timeout": p.duration(&c.ShutdownTimeout),
		"auto-recover":     p.autoRecover,
		"dbs": func(n *yaml.Node, name string) error {
			return p.one(n, name, "database", func(n *yaml.Node, name string) error { return p.db(n, name, &c) })
		},
		"addr": stock, "socket": stock, "logging": stock, "exec": stock, "mcp-addr": stock,
	})
	if err == nil && c.DB == "" {
		err = p.errorf(root, "dbs", "is missing: it names a database and its replica")
	}
	return c, err
}

func (p *parser) db(n *yaml.Node, name string, c *Config) error {
	replica := func(n *yaml.Node, name string) error { return p.replica(n, name, c) }
	err := p.object(n, name, fields{
		"path":                      p.text(&c.DB),
		"snapshot":                  func(n *yaml.Node, name string) error { return p.snapshot(n, name, c) },
		"checkpoint-interval":       p.duration(&c.CheckpointInterval),
		"busy-timeout":              p.duration(&c.BusyTimeout),
		"min-checkpoint-page-count": p.count(&c.MinCheckpointPages),
		"truncate-page-n":           p.count(&c.TruncatePages),
		"restore-if-db-not-exists":  func(n *yaml.Node, name string) error { return p.flag(new(*bool))(n, name) }, // weft does, in any case
		"replica":                   replica,
		"replicas":                  func(n *yaml.Node, name string) error { return p.one(n, name, "replica", replica) },
	})
	switch {
	case err != nil:
		return err
	case c.DB == "":
		return p.errorf(n, name+".path", "is missing"+p.perhaps())
	case c.Type == "":
		return p.errorf(n, name+".replica", "is missing")
	case has(n, "replica") && has(n, "replicas"):
		return p.errorf(n, name, "has replica and replicas: one replica is enough")
	}
	return nil
}

func (p *parser) replica(n *yaml.Node, name string, c *Config) error {
	var url string
	byType := map[string]fields{
		"file": {},
		"s3": {
			"bucket": p.text(&c.Bucket), "endpoint": p.text(&c.Endpoint), "region": p.text(&c.Region),
			"access-key-id": p.text(&c.AccessKeyID), "secret-access-key": p.text(&c.SecretAccessKey),
			"force-path-style": p.flag(&c.ForcePathStyle), "sign-payload": p.flag(&c.SignPayload),
			"require-content-md5": p.flag(&c.RequireContentMD5), "storage-class": p.text(&c.StorageClass),
			"skip-verify": func(n *yaml.Node, name string) error {
				var v *bool
				err := p.flag(&v)(n, name)
				c.SkipVerify = v != nil && *v
				return err
			},
			"part-size": p.size(&c.PartSize), "concurrency": p.count(&c.Concurrency),
		},
		"sftp": {
			"host": p.text(&c.Host), "user": p.text(&c.User), "password": p.text(&c.Password), "key-path": p.text(&c.KeyPath),
			"host-key": p.text(&c.HostKey), "concurrent-writes": p.flag(&c.ConcurrentWrites),
		},
	}
	if n.Kind == yaml.MappingNode {
		// What else there may be depends on the type, which may stand at the end.
		for i := 0; i+1 < len(n.Content); i += 2 {
			switch n.Content[i].Value {
			case "type":
				c.Type = n.Content[i+1].Value
			case "url":
				url = n.Content[i+1].Value
			}
		}
	}
	if url != "" {
		scheme, _, _ := strings.Cut(url, ":")
		c.Type = scheme
	}
	if c.Type == "" {
		c.Type = "file"
	}
	known, ok := byType[c.Type]
	if !ok {
		return p.errorf(n, name+".type", fmt.Sprintf("is %q; weft replicates to file, s3 and sftp", c.Type))
	}
	known["type"], known["url"], known["path"] = p.text(new(string)), p.text(&url), p.text(&c.Path)
	known["sync-interval"], known["auto-recover"] = p.duration(&c.SyncInterval), p.autoRecover
	if err := p.object(n, name, known); err != nil {
		return err
	}
	if url != "" {
		for _, field := range []string{"path", "bucket", "host"} {
			if has(n, field) {
				return p.errorf(n, name+"."+field, "is given beside url, which has it")
			}
		}
		if err := c.takeURL(url); err != nil {
			return p.errorf(n, name+".url", err.Error())
		}
	}
	for _, need := range []struct{ of, field, value string }{
		{"s3", "bucket", c.Bucket}, {"sftp", "host", c.Host}, {"sftp", "user", c.User}, {c.Type, "path", c.Path},
	} {
		if need.of == c.Type && need.value == "" {
			return p.errorf(n, name+"."+need.field, "is missing or empty"+p.perhaps())
		}
	}
	if c.Type == "file" {
		path, err := filepath.Abs(c.Path)
		if err != nil {
			return p.errorf(n, name+".path", err.Error())
		}
		c.Path = path
	}
	return nil
}

func (p *parser) snapshot(n *yaml.Node, name string, c *Config) error {
	return p.object(n, name, fields{"interval": p.duration(&c.SnapshotInterval), "retention": p.duration(&c.SnapshotRetention)})
}

// autoRecover refuses what makes of a broken replica one that looks well.
func (p *parser) autoRecover(n *yaml.Node, name string) error {
	var v *bool
	if err := p.flag(&v)(n, name); err != nil {
		return err
	}
	if v != nil && *v {
		return p.errorf(n, name, "is true: with it Litestream goes on over a broken replica, which it calls in sync and can't restore; remove the field")
	}
	return nil
}

// object reads a mapping.
func (p *parser) object(n *yaml.Node, name string, known fields) error {
	n = follow(n)
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return nil // "snapshot:" with nothing behind it
	}
	if n.Kind != yaml.MappingNode {
		return p.errorf(n, name, "has fields of its own, and none are here")
	}
	var seen []string
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], follow(n.Content[i+1])
		full := key.Value
		if name != "" {
			full = name + "." + full
		}
		read, ok := known[key.Value]
		switch {
		case slices.Contains(seen, key.Value):
			return p.errorf(key, full, "is there twice")
		case !ok:
			names := make([]string, 0, len(known))
			for k := range known {
				names = append(names, k)
			}
			slices.Sort(names)
			return p.errorf(key, full, "is no field that weft knows here; there are "+strings.Join(names, ", "))
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
		return p.errorf(n, name, "is a list, each entry with a dash")
	}
	for i, e := range n.Content {
		if err := item(follow(e), fmt.Sprintf("%s[%d]", name, i)); err != nil {
			return err
		}
	}
	return nil
}

// one reads a sequence of one.
func (p *parser) one(n *yaml.Node, name, what string, item func(n *yaml.Node, name string) error) error {
	if n.Kind == yaml.SequenceNode && len(n.Content) != 1 {
		return p.errorf(n, name, fmt.Sprintf("has %d entries; weft replicates one %s", len(n.Content), what))
	}
	return p.list(n, name, item)
}

func (p *parser) scalar(n *yaml.Node, name string) (string, error) {
	if n.Kind != yaml.ScalarNode {
		return "", p.errorf(n, name, "is a single value")
	}
	if n.Tag == "!!null" {
		return "", nil
	}
	return n.Value, nil
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
		if *into, err = time.ParseDuration(v); err != nil || *into <= 0 {
			return p.errorf(n, name, fmt.Sprintf("is %q, and a time above zero such as 30s, 5m or 24h is expected", v))
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
		if *into, err = strconv.Atoi(v); err != nil || *into <= 0 {
			return p.errorf(n, name, fmt.Sprintf("is %q, and a whole number above zero is expected", v))
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
		const least = 5 << 20 // what S3 takes
		size, err := humanize.ParseBytes(v)
		if err != nil || size < least || size > 5<<30 {
			return p.errorf(n, name, fmt.Sprintf("is %q, and a size from 5MiB to 5GiB such as 64MB is expected", v))
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
			return p.errorf(n, name, fmt.Sprintf("is %q, and true or false is expected", v))
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

// perhaps says why a value may be empty.
func (p *parser) perhaps() string {
	if len(p.unset) == 0 {
		return ""
	}
	return "; these environment variables are not set: " + strings.Join(p.unset, ", ")
}

// follow is the node that an alias stands for.
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
