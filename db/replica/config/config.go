// Package config reads a litestream.yml and connects to the place that it names: a directory, a bucket or a host. It
// bounds each request there, so that a store that accepts requests and does not answer stops nothing.
package config

import (
	"cmp"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/benbjohnson/litestream"
	"github.com/benbjohnson/litestream/s3"
)

// Config is the part of a litestream.yml that weft uses: the settings of one database with one replica. Stock
// Litestream reads the same file, and each setting means the same there. Zero values are Litestream's defaults, unless
// a field states otherwise.
type Config struct {
	File string // name of the file that was read
	DB   string // path of the database, absolute

	SnapshotInterval   time.Duration   // between snapshots; 0: 24 hours
	SnapshotRetention  time.Duration   // the time back to which a restore can go; 0: 24 hours
	Levels             []time.Duration // of compaction, from L1 on; nil: 30 seconds, 5 minutes, an hour
	L0Retention        time.Duration   // of compacted files of level 0; 0: 5 minutes
	ValidationInterval time.Duration   // between reads of the replica's chain; 0: never
	ShutdownTimeout    time.Duration   // for the last upload; 0: 30 seconds

	CheckpointInterval time.Duration // 0: a minute
	BusyTimeout        time.Duration // 0: a second
	MinCheckpointPages int           // of the WAL, from which it is moved into the database; 0: 1,000
	TruncatePages      int           // of the WAL, from which it is emptied by force; 0: 25,000,000, which is never
	SyncInterval       time.Duration // between uploads; 0: a second

	Type string // file, s3 or sftp
	Path string // in the bucket, on the host or on this machine

	Bucket, Region, Endpoint, StorageClass string // of s3
	AccessKeyID, SecretAccessKey           string // empty: from the environment
	ForcePathStyle                         *bool  // nil: with an endpoint
	SignPayload, RequireContentMD5         *bool  // nil: true, or as the endpoint's service needs
	SkipVerify                             bool   // of the endpoint's certificate
	// PartSize is the size of a part of an upload, in bytes. 0: a share of the memory, or the size that the endpoint's
	// service takes.
	PartSize    int64
	Concurrency int // parts at once; 0: 2

	Host, User, Password, KeyPath, HostKey string // of sftp
	ConcurrentWrites                       *bool  // nil: true

	// StallTimeout is the longest time without progress in a request. Only tests set it. 0: DefaultStallTimeout, and
	// three minutes for uploads.
	StallTimeout time.Duration
}

const (
	// partShare divides the memory for the size of a part. An upload holds Concurrency + 1 parts in memory, so 5 % of
	// it, and less when it is small.
	partShare = 64
	// leastPartSize is the smallest part that S3 takes. It allows objects of 52 GB, because an upload has up to 10,000
	// parts.
	leastPartSize = 5 << 20
	// mostPartSize allows objects of 640 GB.
	mostPartSize       = 64_000_000
	defaultConcurrency = 2
	// DefaultTruncatePages is 100 GB of WAL. A forced truncation stops the writer while a reader is open. Zero would
	// mean Litestream's default of 500 MB.
	DefaultTruncatePages = 25_000_000
)

// Read reads a litestream.yml. Variables in it, $NAME and ${NAME}, come from the environment. An unset variable is
// empty, as in stock Litestream, except in the location of the database or of its replica: there it is an error. An
// error names the line and the field.
func Read(file string) (Config, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return Config{}, fmt.Errorf("replica: read the configuration: %w", err)
	}
	return Parse(file, text, os.LookupEnv)
}

// Parse reads the text of a litestream.yml; file is its name, for errors.
func Parse(file string, text []byte, lookup func(string) (string, bool)) (Config, error) {
	p := parser{file: file}
	expanded := os.Expand(string(text), func(name string) string {
		value, ok := lookup(name)
		if ok {
			return value
		}
		if !slices.Contains(p.unset, name) {
			p.unset = append(p.unset, name)
		}
		return unsetMark + name + unsetMark
	})
	c, err := p.parse([]byte(expanded))
	if err != nil {
		return Config{}, fmt.Errorf("replica: %w", err)
	}
	c.File = file
	c.DB, err = filepath.Abs(c.DB)
	if err != nil {
		return Config{}, fmt.Errorf("replica: %s: %w", file, err)
	}
	// Litestream's own variables count only where AWS's variables and the file have no value.
	for _, key := range []struct {
		value *string
		aws   string
		own   string
	}{
		{&c.AccessKeyID, "AWS_ACCESS_KEY_ID", "LITESTREAM_ACCESS_KEY_ID"},
		{&c.SecretAccessKey, "AWS_SECRET_ACCESS_KEY", "LITESTREAM_SECRET_ACCESS_KEY"},
	} {
		if _, ok := lookup(key.aws); !ok && *key.value == "" {
			*key.value, _ = lookup(key.own)
		}
	}
	if _, ok := lookup("AWS_CA_BUNDLE"); ok && c.Type == "s3" {
		return Config{}, errors.New("replica: Litestream's S3 client does not start with AWS_CA_BUNDLE: unset it, " +
			"and set SSL_CERT_FILE instead")
	}
	return c, nil
}

// takeURL sets the fields that a replica's URL has and the file leaves out.
func (c *Config) takeURL(raw string) error {
	scheme, host, path, query, user, err := litestream.ParseReplicaURLWithQuery(raw)
	if err != nil {
		return errors.New("is not a replica URL such as s3://bucket/path") // the error itself may hold a password
	}
	c.Type = scheme
	c.Path = path
	switch scheme {
	case "file":
	case "sftp":
		// The path of an sftp URL is absolute.
		if u, err := url.Parse(raw); err == nil {
			c.Path = u.Path
		}
		c.Host = host
		if user != nil {
			c.User = cmp.Or(c.User, user.Username())
			if password, ok := user.Password(); ok {
				c.Password = cmp.Or(c.Password, password)
			}
		}
	case "s3":
		bucket, region, endpoint, pathStyle := s3.ParseHost(host)
		if e := query.Get("endpoint"); e != "" {
			endpoint, _ = litestream.EnsureEndpointScheme(e)
			pathStyle = true
		}
		c.Bucket = bucket
		c.Region = cmp.Or(c.Region, query.Get("region"), region)
		c.Endpoint = cmp.Or(c.Endpoint, endpoint)
		if v, ok := litestream.BoolQueryValue(query, "forcePathStyle", "force-path-style"); ok {
			pathStyle = v
		}
		if v, ok := litestream.BoolQueryValue(query, "skipVerify", "skip-verify"); ok {
			c.SkipVerify = c.SkipVerify || v
		}
		if c.ForcePathStyle == nil && (pathStyle || endpoint != "") {
			c.ForcePathStyle = &pathStyle
		}
		for key := range query {
			known := []string{"endpoint", "region", "forcePathStyle", "force-path-style", "skipVerify", "skip-verify"}
			if !slices.Contains(known, key) {
				return fmt.Errorf("has the unknown parameter %q; weft supports endpoint, region, force-path-style and "+
					"skip-verify here; use fields for the rest", key)
			}
		}
	default:
		return fmt.Errorf("has the scheme %q; weft replicates to file, s3 and sftp", scheme)
	}
	return nil
}

// Where returns the place of the replica, without secrets.
func (c Config) Where() string {
	switch c.Type {
	case "s3":
		return "s3://" + c.Bucket + "/" + strings.TrimPrefix(c.Path, "/")
	case "sftp":
		return "sftp://" + c.User + "@" + c.Host + "/" + strings.TrimPrefix(c.Path, "/")
	}
	return c.Path
}

// CheckDir checks that a data directory has the database that the configuration names.
func (c Config) CheckDir(dir string) error {
	has, err := filepath.Abs(filepath.Join(dir, "weft.db"))
	if err != nil {
		return fmt.Errorf("replica: %s: %w", c.File, err)
	}
	if has != c.DB {
		return fmt.Errorf("replica: %s replicates %s, but the data directory has %s: make them the same",
			c.File, c.DB, has)
	}
	return nil
}
