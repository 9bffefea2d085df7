package client

import (
	"context"
	"net/http"
)

// Tag is the ETag of an object: it names the form that was read. The zero value is none.
type Tag string

// IsChanged tells whether a conditional write was refused because the object is not as it must be. Nothing was written.
func IsChanged(err error) bool { return StatusOf(err) == http.StatusPreconditionFailed }

// GetTagged returns one object and its tag.
func (l Collection[T, O]) GetTagged(ctx context.Context, key string) (*T, Tag, error) {
	return l.tagged(ctx, request{method: http.MethodGet, path: l.path(key)})
}

// GetUnless returns one object and its tag, unless the tag is still the one given: then the object is nil. The form that
// a tag names has the links too.
func (l Collection[T, O]) GetUnless(ctx context.Context, key string, known Tag) (*T, Tag, error) {
	object, tag, err := l.tagged(ctx, request{
		method: http.MethodGet, path: l.path(key), header: map[string]string{"If-None-Match": string(known)},
	})
	if StatusOf(err) == http.StatusNotModified {
		return nil, known, nil
	}
	return object, tag, err
}

// PutIf writes an object that is still as it was when the tag was given, not counting its links. It returns what
// netmaster stored. If somebody else has changed or deleted it, IsChanged tells so of the error.
func (l Collection[T, O]) PutIf(ctx context.Context, object *T, tag Tag) (*T, Tag, error) {
	return l.tagged(ctx, request{
		method: http.MethodPut, path: l.path(l.key(object)), body: object, header: map[string]string{"If-Match": string(tag)},
	})
}

// Create writes an object that does not exist yet. If it does, IsChanged tells so of the error.
func (l Collection[T, O]) Create(ctx context.Context, object *T) (*T, Tag, error) {
	return l.tagged(ctx, request{
		method: http.MethodPut, path: l.path(l.key(object)), body: object, header: map[string]string{"If-None-Match": "*"},
	})
}

// DeleteIf removes an object that is still as it was when the tag was given. If somebody else has changed it, IsChanged
// tells so of the error; if it does not exist, the status is 404.
func (l Collection[T, O]) DeleteIf(ctx context.Context, key string, tag Tag) error {
	_, err := l.client.ask(ctx, request{
		method: http.MethodDelete, path: l.path(key), header: map[string]string{"If-Match": string(tag)},
	}, nil)
	return err
}

func (l Collection[T, O]) tagged(ctx context.Context, r request) (*T, Tag, error) {
	out := new(T)
	header, err := l.client.ask(ctx, r, out)
	if err != nil {
		return nil, "", err
	}
	return out, Tag(header.Get("ETag")), nil
}
