package replica

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/benbjohnson/litestream/s3"
	"github.com/benbjohnson/litestream/sftp"
)

// environment is a lookup of these variables, NAME=value.
func environment(vars ...string) func(string) (string, bool) {
	return func(name string) (string, bool) {
		for _, v := range vars {
			if value, ok := strings.CutPrefix(v, name+"="); ok {
				return value, true
			}
		}
		return "", false
	}
}

func TestParseConfig(t *testing.T) {
	t.Parallel()
	yes, no := true, false
	for _, tc := range []struct {
		name, text string
		env        []string
		want       Config
	}{
		{"a directory, the least", "dbs:\n  - path: /data/weft.db\n    replica: {path: /copy}\n", nil,
			Config{DB: "/data/weft.db", Type: "file", Path: "/copy"}},
		{"all of the times", `
shutdown-timeout: 60s
snapshot: {interval: 12h, retention: 48h}
levels: [{interval: 30s}, {interval: 1h}]
validation: {interval: 6h}
dbs:
  - path: /data/weft.db
    checkpoint-interval: 2m
    busy-timeout: 5s
    min-checkpoint-page-count: 10000
    truncate-page-n: 25000000
    restore-if-db-not-exists: true
    replica: {type: file, path: /copy, sync-interval: 100ms, auto-recover: false}
`, nil, Config{
			DB: "/data/weft.db", Type: "file", Path: "/copy", ShutdownTimeout: time.Minute, SnapshotInterval: 12 * time.Hour,
			SnapshotRetention: 48 * time.Hour, Levels: []time.Duration{30 * time.Second, time.Hour}, ValidationInterval: 6 * time.Hour,
			CheckpointInterval: 2 * time.Minute, BusyTimeout: 5 * time.Second, MinCheckpointPages: 10_000, TruncatePages: 25_000_000,
			SyncInterval: 100 * time.Millisecond,
		}},
		{"s3, with variables", `
dbs:
  - path: ${DIR}/weft.db
    replicas:
      - type: s3
        bucket: $BUCKET
        path: weft/${REPLICA}
        endpoint: ${ENDPOINT}
        region: auto
        part-size: 64MB
        concurrency: 3
        force-path-style: false
        skip-verify: true
        storage-class: STANDARD_IA
`, []string{"DIR=/d", "BUCKET=b", "REPLICA=r", "LITESTREAM_ACCESS_KEY_ID=key", "LITESTREAM_SECRET_ACCESS_KEY=secret"}, Config{
			DB: "/d/weft.db", Type: "s3", Bucket: "b", Path: "weft/r", Region: "auto", PartSize: 64_000_000, Concurrency: 3,
			ForcePathStyle: &no, SkipVerify: true, StorageClass: "STANDARD_IA", AccessKeyID: "key", SecretAccessKey: "secret",
		}},
		{"s3 by URL", "dbs: [{path: /weft.db, replica: {url: 's3://b/weft/r?endpoint=http://127.0.0.1:9000&region=auto', access-key-id: k}}]",
			[]string{"AWS_ACCESS_KEY_ID=other"}, Config{
				DB: "/weft.db", Type: "s3", Bucket: "b", Path: "weft/r", Endpoint: "http://127.0.0.1:9000", Region: "auto",
				ForcePathStyle: &yes, AccessKeyID: "k",
			}},
		{"sftp", "dbs: [{path: /weft.db, replica: {type: sftp, host: 'h:22', user: u, password: p, path: /copy, key-path: /key, host-key: ssh-ed25519 x, concurrent-writes: false}}]",
			nil, Config{DB: "/weft.db", Type: "sftp", Host: "h:22", User: "u", Password: "p", Path: "/copy", KeyPath: "/key", HostKey: "ssh-ed25519 x", ConcurrentWrites: &no}},
		{"sftp by URL", "dbs: [{path: /weft.db, replica: {url: 'sftp://u:p@h:2222/copy/r'}}]",
			nil, Config{DB: "/weft.db", Type: "sftp", Host: "h:2222", User: "u", Password: "p", Path: "/copy/r"}},
		{"an alias, an empty section, and what is for the stock program", "addr: ':9090'\nlogging: {level: debug}\nsnapshot:\nlevels: [&l {interval: 30s}, *l]\ndbs: [{path: /weft.db, replica: {path: /copy}}]",
			nil, Config{DB: "/weft.db", Type: "file", Path: "/copy", Levels: []time.Duration{30 * time.Second, 30 * time.Second}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, err := ParseConfig("litestream.yml", []byte(tc.text), environment(tc.env...))
			tc.want.File = "litestream.yml"
			if err != nil || !reflect.DeepEqual(got, tc.want) {
				t.Errorf("%v\ngot  %+v\nwant %+v", err, got, tc.want)
			}
		})
	}
}

func TestParseConfigErrors(t *testing.T) {
	t.Parallel()
	const db = "dbs:\n  - path: /weft.db\n    replica:\n      path: /copy\n"
	for _, tc := range []struct {
		name, text, want string
		env              []string
	}{
		{"nothing", "", "litestream.yml is empty", nil},
		{"no YAML", "dbs: [", "litestream.yml: yaml: line 1", nil},
		{"text", "hello", "litestream.yml:1: the file has fields of its own", nil},
		{"no databases", "snapshot: {interval: 1h}", "litestream.yml:1: dbs is missing", nil},
		{"two databases", "dbs:\n  - path: /a\n    replica: {path: /x}\n  - path: /b\n    replica: {path: /y}\n", "litestream.yml:2: dbs has 2 entries; weft replicates one database", nil},
		{"two replicas", "dbs:\n  - path: /a\n    replicas: [{path: /x}, {path: /y}]\n", "litestream.yml:3: dbs[0].replicas has 2 entries", nil},
		{"no replica", "dbs:\n  - path: /a\n", "litestream.yml:2: dbs[0].replica is missing", nil},
		{"both spellings", "dbs:\n  - path: /a\n    replica: {path: /x}\n    replicas: [{path: /x}]\n", "litestream.yml:2: dbs[0] has replica and replicas", nil},
		{"an unknown field", db + "heartbeat-url: x\n", "litestream.yml:5: heartbeat-url is no field that weft knows here; there are addr, auto-recover, dbs,", nil},
		{"an unknown field of a replica", db + "      bucket: b\n", "litestream.yml:5: dbs[0].replica.bucket is no field that weft knows here; there are auto-recover, path, sync-interval, type, url", nil},
		{"a field twice", db + "      path: /copy\n", "litestream.yml:5: dbs[0].replica.path is there twice", nil},
		{"auto-recover", db + "      auto-recover: true\n", "litestream.yml:5: dbs[0].replica.auto-recover is true: with it", nil},
		{"auto-recover for all", "auto-recover: true\n" + db, "litestream.yml:1: auto-recover is true", nil},
		{"a type", "dbs: [{path: /a, replica: {type: gs, path: p}}]", "litestream.yml:1: dbs[0].replica.type is \"gs\"; weft replicates to file, s3 and sftp", nil},
		{"a time without a unit", "snapshot:\n  interval: 24\n" + db, "litestream.yml:2: snapshot.interval is \"24\", and a time above zero", nil},
		{"no time", "levels:\n  - interval: 0s\n" + db, "litestream.yml:2: levels[0].interval is \"0s\"", nil},
		{"a small part", "dbs: [{path: /a, replica: {type: s3, bucket: b, path: p,\n part-size: 1MB}}]", "litestream.yml:2: dbs[0].replica.part-size is \"1MB\", and a size from 5MiB", nil},
		{"no count", "dbs: [{path: /a, replica: {type: s3, bucket: b, path: p,\n concurrency: -1}}]", "litestream.yml:2: dbs[0].replica.concurrency is \"-1\"", nil},
		{"no flag", "dbs: [{path: /a, replica: {type: s3, bucket: b, path: p,\n skip-verify: yes}}]", "litestream.yml:2: dbs[0].replica.skip-verify is \"yes\", and true or false", nil},
		{"an empty variable", "dbs:\n  - path: /a\n    replica: {type: s3, bucket: '${BUCKET}', path: p}\n", "litestream.yml:3: dbs[0].replica.bucket is missing or empty; these environment variables are not set: BUCKET", nil},
		{"an empty path", "dbs: [{path: /a, replica: {type: s3, bucket: b}}]", "dbs[0].replica.path is missing or empty", nil},
		{"a URL and a path", "dbs: [{path: /a, replica: {url: 's3://b/p', path: p}}]", "dbs[0].replica.path is given beside url", nil},
		{"a URL of another kind", "dbs: [{path: /a, replica: {url: 'gs://b/p'}}]", "type is \"gs\"", nil},
		{"an unknown parameter", "dbs: [{path: /a, replica: {url: 's3://b/p?tagging=x'}}]", "dbs[0].replica.url has the parameter \"tagging\"", nil},
		{"a list where a value belongs", "dbs: [{path: [/a], replica: {path: /b}}]", "dbs[0].path is a single value", nil},
		{"a value where a list belongs", "dbs: /a", "litestream.yml:1: dbs is a list", nil},
		{"certificates that break the client", "dbs: [{path: /a, replica: {type: s3, bucket: b, path: p}}]", "AWS_CA_BUNDLE is set", []string{"AWS_CA_BUNDLE=/x"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c, err := ParseConfig("litestream.yml", []byte(tc.text), environment(tc.env...))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v\nwant %s\ngot %+v", err, tc.want, c)
			}
		})
	}
}

// TestShippedConfig reads the file that comes with weft.
func TestShippedConfig(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "litestream.yml"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := ParseConfig("litestream.yml", text, environment("BUCKET=b", "REPLICA=r"))
	if err != nil || c.Bucket != "b" || c.Path != "weft/r" || c.DB != "/data/weft.db" || c.Endpoint != "" {
		t.Errorf("%+v, %v", c, err)
	}
}

func TestClientPlaces(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ name, base, sub, want string }{
		{"the main database", "weft/r", "", "weft/r"},
		{"a segment", "weft/r", "segments/X.weft", "weft/r/segments/X.weft"},
		{"the top of a bucket", "", "segments/X.weft", "segments/X.weft"},
		{"the main database at the top", "", "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := Config{Type: "s3", Bucket: "b", Path: tc.base, Endpoint: "http://127.0.0.1:1"}
			client, err := c.Client(tc.sub)
			if err != nil {
				t.Fatal(err)
			}
			s := client.(*boundedClient).client.(*s3.ReplicaClient)
			if s.Path != tc.want || !s.ForcePathStyle || s.PartSize != 64_000_000 || s.Concurrency != 2 {
				t.Errorf("%+v", s)
			}
			c.Type = "sftp"
			if client, err = c.Client("instance"); err != nil {
				t.Fatal(err)
			}
			if client, err = c.retarget(client, tc.sub); err != nil || client.(*boundedClient).client.(*sftp.ReplicaClient).Path != tc.want {
				t.Errorf("%+v, %v", client, err)
			}
		})
	}
	for _, sub := range []string{"..", "segments/../../x", "/x"} {
		if _, err := (Config{Type: "file", Path: "/copy"}).Client(sub); err == nil {
			t.Errorf("%q stays in the replica", sub)
		}
	}
}

// FuzzParseConfig: no text makes the parser panic, and what it refuses names the file.
func FuzzParseConfig(f *testing.F) {
	text, err := os.ReadFile(filepath.Join("..", "litestream.yml"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(text))
	f.Add("dbs: [{path: /a, replica: {url: 's3://b/p?endpoint=x'}}]\nlevels: [&l {interval: 1s}, *l]")
	f.Add("dbs: [{path: /a, replica: {url: 'sftp://u@h/p'}}]")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := ParseConfig("litestream.yml", []byte(text), environment("BUCKET=b"))
		if err != nil && !strings.Contains(err.Error(), "litestream.yml") {
			t.Errorf("%q: %v", text, err)
		}
		if err == nil && (c.DB == "" || c.Type == "") {
			t.Errorf("%q gives %+v", text, c)
		}
	})
}
