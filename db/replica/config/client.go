package config

import (
	"fmt"
	"log/slog"
	"path"
	"path/filepath"

	"github.com/benbjohnson/litestream"
	"github.com/benbjohnson/litestream/file"
	"github.com/benbjohnson/litestream/s3"
	"github.com/benbjohnson/litestream/sftp"

	"weft.dev/weft/db/memlimit"
)

// Directories beneath a replica's path.
const (
	SegmentsSub = "segments"
	InstanceSub = "instance"
)

// SegmentSub returns the directory of a segment file beneath a replica's path.
func SegmentSub(name string) string { return path.Join(SegmentsSub, name) }

// Client returns a client of the replica: of the main database if sub is empty, else of the database at sub beneath it.
// The client cancels each request that makes no progress.
func (c Config) Client(sub string) (litestream.ReplicaClient, error) {
	client, err := c.client(sub)
	if err != nil {
		return nil, err
	}
	b := newBounded(client, sub, c.client)
	b.stallTimeout = c.StallTimeout
	return b, nil
}

// client returns Litestream's own client.
func (c Config) client(sub string) (litestream.ReplicaClient, error) {
	quiet := slog.New(slog.DiscardHandler) // a failure is an error, and is logged once
	at, err := c.at(sub)
	if err != nil {
		return nil, err
	}
	switch c.Type {
	case "file":
		client := file.NewReplicaClient(at)
		client.SetLogger(quiet)
		return client, nil
	case "s3":
		client := c.s3()
		client.Path = at
		client.SetLogger(quiet)
		return client, nil
	case "sftp":
		client := sftp.NewReplicaClient()
		client.Host = c.Host
		client.User = c.User
		client.Password = c.Password
		client.Path = at
		client.KeyPath = c.KeyPath
		client.HostKey = c.HostKey
		if c.ConcurrentWrites != nil {
			client.ConcurrentWrites = *c.ConcurrentWrites
		}
		client.SetLogger(quiet)
		return client, nil
	}
	return nil, fmt.Errorf("replica: no client for the type %q", c.Type)
}

// at returns the path of a database beneath the replica's.
func (c Config) at(sub string) (string, error) {
	switch {
	case sub == "":
		return c.Path, nil
	case !filepath.IsLocal(sub):
		return "", fmt.Errorf("replica: %q leads out of the replica", sub)
	case c.Type == "file":
		return filepath.Join(c.Path, filepath.FromSlash(sub)), nil
	}
	return path.Join(c.Path, sub), nil
}

// s3 returns a client with the settings that stock Litestream derives for each S3 service.
func (c Config) s3() *s3.ReplicaClient {
	client := s3.NewReplicaClient()
	client.AccessKeyID = c.AccessKeyID
	client.SecretAccessKey = c.SecretAccessKey
	client.Bucket = c.Bucket
	client.Region = c.Region
	client.Endpoint = c.Endpoint
	client.SkipVerify = c.SkipVerify
	client.StorageClass = c.StorageClass
	client.ForcePathStyle = c.Endpoint != "" // only AWS does without both
	client.PartSize = partSize(memlimit.Bytes())
	client.Concurrency = defaultConcurrency
	switch {
	case litestream.IsTigrisEndpoint(c.Endpoint):
		client.RequireContentMD5 = false
		client.PartSize = min(client.PartSize, s3.DefaultTigrisPartSize)
	case litestream.IsFilebaseEndpoint(c.Endpoint), litestream.IsBackblazeEndpoint(c.Endpoint),
		litestream.IsMinIOEndpoint(c.Endpoint),
		litestream.IsSupabaseEndpoint(c.Endpoint), litestream.IsNeonEndpoint(c.Endpoint):
		client.ForcePathStyle = true
	}
	if c.ForcePathStyle != nil {
		client.ForcePathStyle = *c.ForcePathStyle
	}
	if c.SignPayload != nil {
		client.SignPayload = *c.SignPayload
	}
	if c.RequireContentMD5 != nil {
		client.RequireContentMD5 = *c.RequireContentMD5
	}
	if c.PartSize != 0 {
		client.PartSize = c.PartSize
	}
	if c.Concurrency != 0 {
		client.Concurrency = c.Concurrency
	}
	return client
}

// partSize returns the size of a part of an upload to S3, in bytes, for a memory limit: 14 MB on a machine of 1 GB.
func partSize(memory int64) int64 { return min(max(memory/partShare, leastPartSize), mostPartSize) }
