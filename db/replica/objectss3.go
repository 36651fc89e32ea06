package replica

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"
	"github.com/benbjohnson/litestream"
	litestreams3 "github.com/benbjohnson/litestream/s3"
)

// s3Objects are the objects of a bucket beneath a path.
type s3Objects struct {
	cfg Config

	mu            sync.Mutex
	api           *s3.Client
	unconditional bool // the service doesn't know If-None-Match
}

// client makes a client with the settings of Litestream's, which keeps its own to itself.
func (o *s3Objects) client(ctx context.Context) (*s3.Client, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.api != nil {
		return o.api, nil
	}
	like := o.cfg.s3()
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if like.SkipVerify {
		transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
	}
	options := []func(*config.LoadOptions) error{config.WithHTTPClient(&http.Client{Transport: transport})}
	if like.AccessKeyID != "" && like.SecretAccessKey != "" {
		options = append(options, config.WithCredentialsProvider(credentials.NewStaticCredentialsProvider(like.AccessKeyID, like.SecretAccessKey, "")))
	}
	region := like.Region
	if region == "" {
		region = litestreams3.DefaultRegion
	}
	cfg, err := config.LoadDefaultConfig(ctx, append(options, config.WithRegion(region))...)
	if err != nil {
		return nil, fmt.Errorf("s3: %w", err)
	}
	if like.Region == "" && like.Endpoint == "" {
		location, err := s3.NewFromConfig(cfg).GetBucketLocation(ctx, &s3.GetBucketLocationInput{Bucket: aws.String(like.Bucket)})
		if err != nil {
			return nil, fmt.Errorf("s3: look up the region of the bucket: %w", err)
		}
		if location.LocationConstraint != "" {
			cfg.Region = string(location.LocationConstraint)
		}
	}
	o.api = s3.NewFromConfig(cfg, func(to *s3.Options) {
		to.UsePathStyle, to.UseARNRegion = like.ForcePathStyle, true
		if like.Endpoint != "" {
			endpoint := like.Endpoint
			if !strings.Contains(endpoint, "://") {
				endpoint = "https://" + endpoint
			}
			to.BaseEndpoint = aws.String(endpoint)
			to.EndpointOptions.DisableHTTPS = strings.HasPrefix(endpoint, "http://")
			to.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
			to.ResponseChecksumValidation = aws.ResponseChecksumValidationWhenRequired
		}
		to.APIOptions = append(to.APIOptions, peculiarities(like)...)
	})
	return o.api, nil
}

// peculiarities are what services that speak S3 want otherwise than Amazon's, as Litestream's client gives it to them.
func peculiarities(like *litestreams3.ReplicaClient) []func(*middleware.Stack) error {
	var options []func(*middleware.Stack) error
	if litestream.IsTigrisEndpoint(like.Endpoint) { // else another region answers from the past
		options = append(options, smithyhttp.SetHeaderValue("X-Tigris-Consistent", "true"))
	}
	if !like.SignPayload {
		options = append(options, v4.SwapComputePayloadSHA256ForUnsignedPayloadMiddleware)
	}
	if litestream.IsGoogleCloudStorageEndpoint(like.Endpoint) { // it changes the header on the way, and the signature covers it
		options = append(options, func(stack *middleware.Stack) error {
			return stack.Finalize.Insert(middleware.FinalizeMiddlewareFunc("WeftRemoveAcceptEncoding",
				func(ctx context.Context, in middleware.FinalizeInput, next middleware.FinalizeHandler) (middleware.FinalizeOutput, middleware.Metadata, error) {
					if r, ok := in.Request.(*smithyhttp.Request); ok {
						r.Header.Del("Accept-Encoding")
					}
					return next.HandleFinalize(ctx, in)
				}), "Signing", middleware.Before)
		})
	}
	return options
}

func (o *s3Objects) key(name string) *string { return aws.String(path.Join(o.cfg.Path, name)) }

func (o *s3Objects) list(ctx context.Context, dir string) ([]string, error) {
	api, err := o.client(ctx)
	if err != nil {
		return nil, err
	}
	prefix := *o.key(dir) + "/"
	var names []string
	pages := s3.NewListObjectsV2Paginator(api, &s3.ListObjectsV2Input{Bucket: aws.String(o.cfg.Bucket), Prefix: aws.String(prefix)})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, fmt.Errorf("s3: list %s: %w", prefix, err)
		}
		for _, object := range page.Contents {
			names = append(names, strings.TrimPrefix(aws.ToString(object.Key), prefix))
		}
	}
	return names, nil
}

func (o *s3Objects) read(ctx context.Context, name string) ([]byte, error) {
	api, err := o.client(ctx)
	if err != nil {
		return nil, err
	}
	out, err := api.GetObject(ctx, &s3.GetObjectInput{Bucket: aws.String(o.cfg.Bucket), Key: o.key(name)})
	if statusOf(err) == http.StatusNotFound {
		return nil, fs.ErrNotExist
	}
	if err != nil {
		return nil, fmt.Errorf("s3: read %s: %w", *o.key(name), err)
	}
	data, err := io.ReadAll(out.Body)
	return data, errors.Join(err, out.Body.Close())
}

// create puts the object on the condition that it isn't there. A service that knows no conditions answers that it doesn't, or
// overwrites: what was written is read again before it is relied on.
func (o *s3Objects) create(ctx context.Context, name string, data []byte) error {
	if o.unconditional {
		if _, err := o.read(ctx, name); !errors.Is(err, fs.ErrNotExist) {
			return errors.Join(err, fs.ErrExist)
		}
		return o.write(ctx, name, data)
	}
	api, err := o.client(ctx)
	if err != nil {
		return err
	}
	_, err = api.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String(o.cfg.Bucket), Key: o.key(name), Body: bytes.NewReader(data), IfNoneMatch: aws.String("*")})
	switch statusOf(err) {
	case http.StatusPreconditionFailed, http.StatusConflict: // a conflict is another one's request at the same moment
		return fs.ErrExist
	case http.StatusNotImplemented:
		o.unconditional = true
		return o.create(ctx, name, data)
	}
	if err != nil {
		return fmt.Errorf("s3: create %s: %w", *o.key(name), err)
	}
	return nil
}

func (o *s3Objects) write(ctx context.Context, name string, data []byte) error {
	api, err := o.client(ctx)
	if err != nil {
		return err
	}
	if _, err := api.PutObject(ctx, &s3.PutObjectInput{Bucket: aws.String(o.cfg.Bucket), Key: o.key(name), Body: bytes.NewReader(data)}); err != nil {
		return fmt.Errorf("s3: write %s: %w", *o.key(name), err)
	}
	return nil
}

// missing lists the directory: a request for a thousand objects.
func (o *s3Objects) missing(ctx context.Context, dir string, names []string) ([]string, error) {
	if len(names) == 0 {
		return nil, nil
	}
	there, err := o.list(ctx, dir)
	if err != nil {
		return nil, err
	}
	slices.Sort(there)
	var gone []string
	for _, name := range names {
		if _, ok := slices.BinarySearch(there, strings.TrimPrefix(name, dir+"/")); !ok {
			gone = append(gone, name)
		}
	}
	return gone, nil
}

func (o *s3Objects) close() error { return nil }

// statusOf is the HTTP status of an answer that was an error; 0: there was none.
func statusOf(err error) int {
	var answer interface{ HTTPStatusCode() int }
	if errors.As(err, &answer) {
		return answer.HTTPStatusCode()
	}
	return 0
}
