package config

import (
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/benbjohnson/litestream/s3"
	"github.com/benbjohnson/litestream/sftp"

	"weft.dev/weft/db/memlimit"
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

func TestParse(t *testing.T) {
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
			SnapshotRetention: 48 * time.Hour, Levels: []time.Duration{30 * time.Second, time.Hour},
			ValidationInterval: 6 * time.Hour,
			CheckpointInterval: 2 * time.Minute, BusyTimeout: 5 * time.Second, MinCheckpointPages: 10_000,
			TruncatePages: 25_000_000,
			SyncInterval:  100 * time.Millisecond,
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
`, []string{"DIR=/d", "BUCKET=b", "REPLICA=r", "LITESTREAM_ACCESS_KEY_ID=key", "LITESTREAM_SECRET_ACCESS_KEY=secret"},
			Config{
				DB: "/d/weft.db", Type: "s3", Bucket: "b", Path: "weft/r", Region: "auto", PartSize: 64_000_000, Concurrency: 3,
				ForcePathStyle: &no, SkipVerify: true, StorageClass: "STANDARD_IA", AccessKeyID: "key", SecretAccessKey: "secret",
			}},
		{"s3 by URL",
			"dbs: [{path: /weft.db, replica: {url: 's3://b/weft/r?endpoint=http://127.0.0.1:9000&region=auto', access-key-id: k}}]",
			[]string{"AWS_ACCESS_KEY_ID=other"}, Config{
				DB: "/weft.db", Type: "s3", Bucket: "b", Path: "weft/r", Endpoint: "http://127.0.0.1:9000", Region: "auto",
				ForcePathStyle: &yes, AccessKeyID: "k",
			}},
		{"sftp",
			"dbs: [{path: /weft.db, replica: {type: sftp, host: 'h:22', user: u, password: p, path: /copy, key-path: /key, host-key: ssh-ed25519 x, concurrent-writes: false}}]",
			nil, Config{DB: "/weft.db", Type: "sftp", Host: "h:22", User: "u", Password: "p", Path: "/copy", KeyPath: "/key",
				HostKey: "ssh-ed25519 x", ConcurrentWrites: &no}},
		{"sftp by URL", "dbs: [{path: /weft.db, replica: {url: 'sftp://u:p@h:2222/copy/r'}}]",
			nil, Config{DB: "/weft.db", Type: "sftp", Host: "h:2222", User: "u", Password: "p", Path: "/copy/r"}},
		{"an alias, an empty section, and what is for the stock program",
			"addr: ':9090'\nlogging: {level: debug}\nsnapshot:\nlevels: [&l {interval: 30s}, *l]\ndbs: [{path: /weft.db, replica: {path: /copy}}]",
			nil, Config{DB: "/weft.db", Type: "file", Path: "/copy",
				Levels: []time.Duration{30 * time.Second, 30 * time.Second}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			got, err := Parse("litestream.yml", []byte(tc.text), environment(tc.env...))
			tc.want.File = "litestream.yml"
			if err != nil || !reflect.DeepEqual(got, tc.want) {
				t.Errorf("%v\ngot  %+v\nwant %+v", err, got, tc.want)
			}
		})
	}
}

func TestParseErrors(t *testing.T) {
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
		{"two databases", "dbs:\n  - path: /a\n    replica: {path: /x}\n  - path: /b\n    replica: {path: /y}\n",
			"litestream.yml:2: dbs has 2 entries; weft replicates one database", nil},
		{"two replicas", "dbs:\n  - path: /a\n    replicas: [{path: /x}, {path: /y}]\n",
			"litestream.yml:3: dbs[0].replicas has 2 entries", nil},
		{"no replica", "dbs:\n  - path: /a\n", "litestream.yml:2: dbs[0].replica is missing", nil},
		{"both spellings", "dbs:\n  - path: /a\n    replica: {path: /x}\n    replicas: [{path: /x}]\n",
			"litestream.yml:2: dbs[0] has replica and replicas", nil},
		{"an unknown field", db + "heartbeat-url: x\n",
			"litestream.yml:5: heartbeat-url is not a field that weft knows here; it knows access-key-id, addr, auto-recover, bucket,", nil},
		{"an unknown field of a replica", db + "      bucket: b\n",
			"litestream.yml:5: dbs[0].replica.bucket is not a field that weft knows here; it knows auto-recover, name, path, sync-interval, type, url", nil},
		{"a field twice", db + "      path: /copy\n", "litestream.yml:5: dbs[0].replica.path appears twice", nil},
		{"auto-recover", db + "      auto-recover: true\n", "litestream.yml:5: dbs[0].replica.auto-recover is true: with it",
			nil},
		{"auto-recover for all", "auto-recover: true\n" + db, "litestream.yml:1: auto-recover is true", nil},
		{"a type", "dbs: [{path: /a, replica: {type: gs, path: p}}]",
			"litestream.yml:1: dbs[0].replica.type is \"gs\"; weft replicates to file, s3 and sftp", nil},
		{"a time without a unit", "snapshot:\n  interval: 24\n" + db,
			"litestream.yml:2: snapshot.interval is \"24\", but must be a duration above zero", nil},
		{"no time", "levels:\n  - interval: 0s\n" + db, "litestream.yml:2: levels[0].interval is \"0s\"", nil},
		{"a small part", "dbs: [{path: /a, replica: {type: s3, bucket: b, path: p,\n part-size: 1MB}}]",
			"litestream.yml:2: dbs[0].replica.part-size is \"1MB\", but must be a size from 5MiB", nil},
		{"no count", "dbs: [{path: /a, replica: {type: s3, bucket: b, path: p,\n concurrency: -1}}]",
			"litestream.yml:2: dbs[0].replica.concurrency is \"-1\"", nil},
		{"no flag", "dbs: [{path: /a, replica: {type: s3, bucket: b, path: p,\n skip-verify: yes}}]",
			"litestream.yml:2: dbs[0].replica.skip-verify is \"yes\", but must be true or false", nil},
		{"an empty variable", "dbs:\n  - path: /a\n    replica: {type: s3, bucket: '${BUCKET}', path: p}\n",
			"litestream.yml:3: dbs[0].replica.bucket is missing or empty; these environment variables are not set: BUCKET", nil},
		{"a path with a variable that isn't set",
			"dbs:\n  - path: /a\n    replica:\n      type: s3\n      bucket: b\n      path: weft/${REPLICA}\n",
			"litestream.yml:6: dbs[0].replica.path needs the environment variable REPLICA, which is not set: without it, the location would be \"weft/\"", nil},
		{"a directory with one", "dbs: [{path: /a, replica: {path: '/copy/${REPLICA}'}}]",
			"dbs[0].replica.path needs the environment variable REPLICA", nil},
		{"a database with one", "dbs: [{path: '${DATA}/weft.db', replica: {path: /copy}}]",
			"dbs[0].path needs the environment variable DATA", nil},
		{"a URL with one", "dbs:\n  - path: /a\n    replica: {url: 's3://b/weft/${REPLICA}'}\n",
			"litestream.yml:3: dbs[0].replica.url needs the environment variable REPLICA", nil},
		{"a path with a variable that is empty",
			"dbs:\n  - path: /a\n    replica:\n      type: s3\n      bucket: b\n      path: weft/${REPLICA}\n",
			"litestream.yml:6: dbs[0].replica.path is \"weft/\": a path must not end with a slash, contain two in a row, or on s3 begin with one; use \"weft\"", []string{"REPLICA="}},
		{"a path with two slashes", "dbs: [{path: /a, replica: {type: sftp, host: h, user: u, path: /a//b}}]", "use \"/a/b\"",
			nil},
		{"a path that begins with a slash", "dbs: [{path: /a, replica: {type: s3, bucket: b, path: /weft}}]", "use \"weft\"",
			nil},
		{"a default", "dbs: [{path: /a, replica: {type: s3, bucket: b, path: p, region: '${R:-x}'}}]",
			"dbs[0].replica.region has ${R:-x}: Litestream knows ${NAME} alone", nil},
		{"retention that isn't enforced", "retention: {enabled: false}\n" + db,
			"litestream.yml:1: retention.enabled is false", nil},
		{"an empty path", "dbs: [{path: /a, replica: {type: s3, bucket: b}}]", "dbs[0].replica.path is missing or empty",
			nil},
		{"a URL and a path", "dbs: [{path: /a, replica: {url: 's3://b/p', path: p}}]",
			"dbs[0].replica.path duplicates a part of url", nil},
		{"a URL of another kind", "dbs: [{path: /a, replica: {url: 'gs://b/p'}}]", "type is \"gs\"", nil},
		{"an unknown parameter", "dbs: [{path: /a, replica: {url: 's3://b/p?tagging=x'}}]",
			"dbs[0].replica.url has the unknown parameter \"tagging\"", nil},
		{"a list where a value belongs", "dbs: [{path: [/a], replica: {path: /b}}]", "dbs[0].path must be a single value",
			nil},
		{"a value where a list belongs", "dbs: /a", "litestream.yml:1: dbs must be a list", nil},
		{"certificates that break the client", "dbs: [{path: /a, replica: {type: s3, bucket: b, path: p}}]",
			"does not start with AWS_CA_BUNDLE", []string{"AWS_CA_BUNDLE=/x"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c, err := Parse("litestream.yml", []byte(tc.text), environment(tc.env...))
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v\nwant %s\ngot %+v", err, tc.want, c)
			}
		})
	}
}

// TestOthersConfigs reads files as they are written for stock Litestream: what they say is meant here too, or refused
// by line and field.
func TestOthersConfigs(t *testing.T) {
	t.Parallel()
	yes := true
	local := "http://127.0.0.1:21999"
	for name, tc := range map[string]struct {
		want Config
		err  string
	}{
		"01-global-keys": {want: Config{Bucket: "b", Path: "p", Endpoint: local, Region: "nbg1",
			SyncInterval: time.Second, AccessKeyID: "AKEXAMPLE", SecretAccessKey: "secretexample"}},
		"02-v03-fields": {err: ":9: dbs[0].replicas[0].retention is a field of Litestream 0.3 that later versions ignore: since 0.5 it is snapshot.retention"},
		"03-url-endpoint": {want: Config{Bucket: "bkt", Path: "pm/db", Endpoint: local, Region: "eu-west-2",
			ForcePathStyle: &yes, SkipVerify: true, SyncInterval: 10 * time.Second}},
		"04-url-plain": {want: Config{Bucket: "bkt", Path: "pm/db", Endpoint: local, AccessKeyID: "a",
			SecretAccessKey: "b"}},
		"05-schemeless-endpoint": {want: Config{Bucket: "flyio-x", Path: "x", Endpoint: "127.0.0.1:21999",
			Region: "us-west-002", ForcePathStyle: &yes}},
		"06-merge-key": {want: Config{Bucket: "b", Path: "p", Endpoint: local}},
		"07-gcs":       {err: `:4: dbs[0].replicas[0].type is "gs"; weft replicates to file, s3 and sftp`},
		"08-name-l0": {want: Config{Bucket: "bkt", Path: "pm/db", Endpoint: local, ForcePathStyle: &yes,
			L0Retention: 5 * time.Minute}},
		"09-bash-default": {err: ":4: dbs[0].replica.url has ${S3_BUCKET:-mybucket}: Litestream knows ${NAME} alone, without a default"},
		"10-fly-tigris": {want: Config{Bucket: "bkt", Path: "weft/one", Endpoint: "127.0.0.1:21031",
			Region: "auto"}},
		"11-http-endpoint": {want: Config{Bucket: "bkt", Path: "weft/one", Endpoint: "http://127.0.0.1:21031",
			Region: "auto"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join("testdata", "litestream", name+".yml")
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got, err := Parse(file, text, environment())
			if tc.err != "" {
				if err == nil || !strings.Contains(err.Error(), file+tc.err) {
					t.Errorf("%v\nwant %s", err, tc.err)
				}
				return
			}
			tc.want.File, tc.want.DB, tc.want.Type = file, "/data/weft.db", "s3"
			if err != nil || !reflect.DeepEqual(got, tc.want) {
				t.Errorf("%v\ngot  %+v\nwant %+v", err, got, tc.want)
			}
		})
	}
}

// TestShippedConfig reads the file that comes with weft.
func TestShippedConfig(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "litestream.yml"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := Parse("litestream.yml", text, environment("BUCKET_NAME=b", "REPLICA=r"))
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
			if s.Path != tc.want || !s.ForcePathStyle || s.PartSize != partSize(memlimit.Bytes()) || s.Concurrency != 2 {
				t.Errorf("%+v", s)
			}
			c.Type = "sftp"
			if client, err = c.Client("instance"); err != nil {
				t.Fatal(err)
			}
			err = client.(*boundedClient).Retarget(tc.sub)
			if err != nil || client.(*boundedClient).client.(*sftp.ReplicaClient).Path != tc.want {
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

// TestPartSize: uploads take about a twentieth of the memory, within what S3 takes.
func TestPartSize(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ memory, want int64 }{
		{64 << 20, 5 << 20}, {7 << 27, 14 << 20}, {2 << 30, 32 << 20}, {4 << 30, 64_000_000}, {1 << 40, 64_000_000},
	} {
		if got := partSize(tc.memory); got != tc.want {
			t.Errorf("memory of %d bytes: parts of %d bytes, not %d", tc.memory, got, tc.want)
		}
	}
}

// FuzzParse: no text makes the parser panic, and what it refuses names the file.
func FuzzParse(f *testing.F) {
	text, err := os.ReadFile(filepath.Join("..", "..", "..", "litestream.yml"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(text))
	f.Add("dbs: [{path: /a, replica: {url: 's3://b/p?endpoint=x'}}]\nlevels: [&l {interval: 1s}, *l]")
	f.Add("dbs: [{path: /a, replica: {url: 'sftp://u@h/p'}}]")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := Parse("litestream.yml", []byte(text), environment("BUCKET_NAME=b"))
		if err != nil && !strings.Contains(err.Error(), "litestream.yml") {
			t.Errorf("%q: %v", text, err)
		}
		if err == nil && (c.DB == "" || c.Type == "") {
			t.Errorf("%q gives %+v", text, c)
		}
	})
}
