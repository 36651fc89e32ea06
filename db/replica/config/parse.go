package config

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"path/filepath"
	"strings"
	"time"

	"gopkg.in/yaml.v3"
)

// parser reads a litestream.yml with the line of each value. It rejects unknown settings: if it ignored one silently,
// the replica would differ from its owner's intention.
type parser struct {
	file    string
	unset   []string // variables that the file names and the environment lacks
	globals Config   // settings of all replicas; a setting of the replica itself wins
}

// unsetMark stands before and behind the name of a variable that is not set. It is a private-use character of Unicode,
// so no file contains it.
const unsetMark = "\uf8f0"

// fields has the reader of each field of a mapping.
type fields map[string]func(n *yaml.Node, name string) error

func (p *parser) parse(text []byte) (c Config, err error) {
	var doc yaml.Node
	if err := yaml.Unmarshal(text, &doc); err != nil {
		return c, fmt.Errorf("%s: %w", p.file, err) // yaml's errors have a line
	}
	if len(doc.Content) == 0 {
		return c, fmt.Errorf("%s is empty: it must name a database and its replica under dbs", p.file)
	}
	root := doc.Content[0]
	stock := func(*yaml.Node, string) error { return nil } // settings of the stock program alone
	if err := p.readGlobals(root); err != nil {
		return c, err
	}
	known := fields{
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
		"l0-retention": p.duration(&c.L0Retention),
		"retention": func(n *yaml.Node, name string) error {
			return p.object(n, name, fields{"enabled": p.only("true", "weft deletes files that no restore needs")})
		},
	}
	for name := range p.settings(&Config{}) {
		known[name] = stock // read before
	}
	for i := 0; root.Kind == yaml.MappingNode && i+1 < len(root.Content); i += 2 {
		if key := root.Content[i].Value; known[key] == nil && root.Content[i+1].Anchor != "" {
			known[key] = stock // a part for aliases
		}
	}
	err = p.object(root, "", known)
	if err == nil && c.DB == "" {
		err = p.errorf(root, "dbs", "is missing: it must name a database and its replica")
	}
	return c, err
}

// readGlobals reads the top-level settings that hold for all replicas, wherever they stand in the file.
func (p *parser) readGlobals(root *yaml.Node) error {
	known := p.settings(&p.globals)
	for i := 0; root.Kind == yaml.MappingNode && i+1 < len(root.Content); i += 2 {
		if read, ok := known[root.Content[i].Value]; ok {
			if err := read(follow(root.Content[i+1]), root.Content[i].Value); err != nil {
				return err
			}
		}
	}
	return nil
}

// settings are the fields of a replica that the stock program takes at the top too.
func (p *parser) settings(c *Config) fields {
	all := fields{"sync-interval": p.duration(&c.SyncInterval)}
	maps.Copy(all, p.s3Fields(c))
	maps.Copy(all, p.sftpFields(c))
	return all
}

func (p *parser) s3Fields(c *Config) fields {
	return fields{
		"bucket": p.place(&c.Bucket), "endpoint": p.text(&c.Endpoint), "region": p.text(&c.Region),
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
	}
}

func (p *parser) sftpFields(c *Config) fields {
	return fields{
		"host": p.place(&c.Host), "user": p.text(&c.User),
		"password": p.text(&c.Password), "key-path": p.text(&c.KeyPath),
		"host-key": p.text(&c.HostKey), "concurrent-writes": p.flag(&c.ConcurrentWrites),
	}
}

// inherit takes the settings that a replica leaves out from the top of the file.
func (c *Config) inherit(from Config) {
	c.SyncInterval = cmp.Or(c.SyncInterval, from.SyncInterval)
	switch c.Type {
	case "s3":
		for _, s := range [][2]*string{
			{&c.Bucket, &from.Bucket}, {&c.Endpoint, &from.Endpoint}, {&c.Region, &from.Region},
			{&c.AccessKeyID, &from.AccessKeyID}, {&c.SecretAccessKey, &from.SecretAccessKey},
			{&c.StorageClass, &from.StorageClass},
		} {
			*s[0] = cmp.Or(*s[0], *s[1])
		}
		c.ForcePathStyle = cmp.Or(c.ForcePathStyle, from.ForcePathStyle)
		c.SignPayload = cmp.Or(c.SignPayload, from.SignPayload)
		c.RequireContentMD5 = cmp.Or(c.RequireContentMD5, from.RequireContentMD5)
		c.SkipVerify = c.SkipVerify || from.SkipVerify
		c.PartSize = cmp.Or(c.PartSize, from.PartSize)
		c.Concurrency = cmp.Or(c.Concurrency, from.Concurrency)
	case "sftp":
		for _, s := range [][2]*string{{&c.Host, &from.Host}, {&c.User, &from.User}, {&c.Password, &from.Password},
			{&c.KeyPath, &from.KeyPath}, {&c.HostKey, &from.HostKey}} {
			*s[0] = cmp.Or(*s[0], *s[1])
		}
		c.ConcurrentWrites = cmp.Or(c.ConcurrentWrites, from.ConcurrentWrites)
	}
}

func (p *parser) db(n *yaml.Node, name string, c *Config) error {
	replica := func(n *yaml.Node, name string) error { return p.replica(n, name, c) }
	err := p.object(n, name, fields{
		"path":                      p.place(&c.DB),
		"snapshot":                  func(n *yaml.Node, name string) error { return p.snapshot(n, name, c) },
		"checkpoint-interval":       p.duration(&c.CheckpointInterval),
		"busy-timeout":              p.duration(&c.BusyTimeout),
		"min-checkpoint-page-count": p.count(&c.MinCheckpointPages),
		"truncate-page-n":           p.count(&c.TruncatePages),
		"monitor-interval":          p.duration(new(time.Duration)), // unused: weft syncs before each upload
		"restore-if-db-not-exists":  p.flag(new(*bool)),             // unused: weft always restores a missing database
		"replica":                   replica,
		"replicas": func(n *yaml.Node, name string) error {
			return p.one(n, name, "replica", replica)
		},
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
	byType := map[string]fields{"file": {}, "s3": p.s3Fields(c), "sftp": p.sftpFields(c)}
	n, err := p.merged(n, name)
	if err != nil {
		return err
	}
	url, err := p.replicaType(n, name, c)
	if err != nil {
		return err
	}
	known, ok := byType[c.Type]
	if !ok {
		return p.errorf(n, name+".type", fmt.Sprintf("is %q; weft replicates to file, s3 and sftp", c.Type))
	}
	known["type"] = p.text(new(string))
	known["url"] = p.place(&url)
	known["path"] = p.place(&c.Path)
	known["sync-interval"] = p.duration(&c.SyncInterval)
	known["auto-recover"] = p.autoRecover
	known["name"] = p.text(new(string)) // of a replica, which the stock program has no use for any more
	if err := p.object(n, name, known); err != nil {
		return err
	}
	if url != "" {
		for _, field := range []string{"path", "bucket", "host"} {
			if has(n, field) {
				return p.errorf(n, name+"."+field, "duplicates a part of url")
			}
		}
		if err := c.takeURL(url); err != nil {
			return p.errorf(n, name+".url", err.Error())
		}
	}
	c.inherit(p.globals)
	for _, need := range []struct{ of, field, value string }{
		{"s3", "bucket", c.Bucket}, {"sftp", "host", c.Host}, {"sftp", "user", c.User}, {c.Type, "path", c.Path},
	} {
		if need.of == c.Type && need.value == "" {
			return p.errorf(n, name+"."+need.field, "is missing or empty"+p.perhaps())
		}
	}
	return p.replicaPath(n, name, c)
}

// replicaType sets the type of a replica and returns its url. The type decides which other fields are valid, and may be
// the last field.
func (p *parser) replicaType(n *yaml.Node, name string, c *Config) (url string, err error) {
	if n.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(n.Content); i += 2 {
			value := withoutUnset(n.Content[i+1].Value)
			switch key := n.Content[i]; key.Value {
			case "type":
				c.Type = value
			case "url":
				url = value
			case "retention", "snapshot-interval":
				return "", p.errorf(key, name+"."+key.Value,
					"is a field of Litestream 0.3 that later versions ignore: since 0.5 it is snapshot."+
						strings.TrimPrefix(key.Value, "snapshot-")+", at the top of the file")
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
	return url, nil
}

// replicaPath rejects a path that a store would change, and makes the path of a directory absolute.
func (p *parser) replicaPath(n *yaml.Node, name string, c *Config) error {
	// Stores that fold two slashes list no file below such a path. Where the name of an index follows the slash, all
	// indexes would share one place.
	if c.Type != "file" && (path.Clean(c.Path) != c.Path || c.Type == "s3" && strings.HasPrefix(c.Path, "/")) {
		at := n
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == "path" || n.Content[i].Value == "url" {
				at = n.Content[i+1]
			}
		}
		return p.errorf(at, name+".path", fmt.Sprintf("is %q: a path must not end with a slash, contain two in a row, "+
			"or on s3 begin with one; use %q", c.Path,
			strings.TrimPrefix(path.Clean(c.Path), map[bool]string{true: "/"}[c.Type == "s3"])))
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
	return p.object(n, name, fields{"interval": p.duration(&c.SnapshotInterval),
		"retention": p.duration(&c.SnapshotRetention)})
}

// autoRecover rejects a setting that makes a broken replica look intact.
func (p *parser) autoRecover(n *yaml.Node, name string) error {
	var v *bool
	if err := p.flag(&v)(n, name); err != nil {
		return err
	}
	if v != nil && *v {
		return p.errorf(n, name, "is true: with it Litestream continues on a broken replica, which it reports as in "+
			"sync but cannot restore; remove the field")
	}
	return nil
}
