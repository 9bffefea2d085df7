package api

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/netmaster/objects"
	"github.com/contiv/contiv/state"
)

// revisionHeader carries the store revision that an answer shows: that to watch from for what comes after.
const revisionHeader = "X-Contiv-Revision"

// gzipSuffix ends the tags of compressed answers, which must differ from those of plain ones.
const gzipSuffix = "-gzip"

// reply is an answer with what its headers tell.
type reply struct {
	body     any
	revision int64  // of the model that it shows
	version  string // of the object, "" if it is of none: it gets a tag
	next     string // where the next page is, "" if there is none
}

// versionOf is the resourceVersion of an object: the store revision in which it was last written.
func versionOf(m *ledger.Model, record state.Record) string {
	return strconv.FormatInt(m.RevisionOf(record.StoreKey()), 10)
}

// tagged shows an object of the collection with a tag, nil if there is none with the key.
func (c collection) tagged(m *ledger.Model, key string) any {
	shown := c.one(m, key)
	if shown == nil {
		return nil
	}
	return reply{body: shown, revision: m.Revision(), version: strconv.FormatInt(m.RevisionOf(c.prefix+key), 10)}
}

// writeJSON answers with a value, or with nothing if the client says that it has it already.
func (s *server) writeJSON(w http.ResponseWriter, r *http.Request, result any) {
	full, _ := result.(reply)
	if full.body != nil {
		result = full.body
	}
	data, err := json.Marshal(result)
	if err != nil {
		s.logOf(r).WithError(err).Error("encoding the answer failed")
		writeError(w, r, errInternal)
		return
	}
	data = append(data, '\n')
	header := w.Header()
	if full.revision != 0 {
		header.Set(revisionHeader, strconv.FormatInt(full.revision, 10))
	}
	if full.next != "" {
		header.Set("Link", "<"+full.next+`>; rel="next"`)
	}
	if full.version != "" {
		tag := tagOf(full.version, data)
		known, err := hasAlready(r, tag)
		if err != nil {
			writeError(w, r, err)
			return
		}
		header.Set("ETag", `"`+tag+`"`)
		if known {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	header.Set("Content-Type", "application/json")
	header.Set("Content-Length", strconv.Itoa(len(data)))
	_, _ = w.Write(data) // a client that went away is no matter of ours
}

// tagOf makes the tag of an object's form: its version, which preconditions are about, and what tells the whole form,
// links included, from others of that version. Every netmaster makes the same of the same.
func tagOf(version string, form []byte) string {
	sum := sha256.Sum256(form)
	return version + "-" + hex.EncodeToString(sum[:8])
}

// hasAlready tells whether a reader names the tag in If-None-Match.
func hasAlready(r *http.Request, tag string) (bool, error) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false, nil
	}
	known, err := tagsIn(r, "If-None-Match")
	return known.all || slices.ContainsFunc(known.list, func(t entityTag) bool {
		return strings.TrimSuffix(t.opaque, gzipSuffix) == tag
	}), err
}

// entityTag is one of a list of tags in a header.
type entityTag struct {
	weak   bool
	opaque string
}

// entityTags is what a header says: every object that exists, or those with one of the tags.
type entityTags struct {
	given, all bool
	list       []entityTag
}

// haveVersion tells whether a tag is of an object at a revision. The links that came or went since it was read do not
// count: they are not what a client changes.
func (t entityTags) haveVersion(revision int64) bool {
	return slices.ContainsFunc(t.list, func(tag entityTag) bool {
		version, _, _ := strings.Cut(tag.opaque, "-")
		return !tag.weak && version == strconv.FormatInt(revision, 10)
	})
}

// tagsIn reads a header of the form `*` or `"a", W/"b"` (RFC 9110, section 13.1).
func tagsIn(r *http.Request, name string) (entityTags, error) {
	values := r.Header.Values(name)
	rest := strings.TrimSpace(strings.Join(values, ","))
	tags := entityTags{given: len(values) > 0, all: rest == "*"}
	if !tags.given || tags.all {
		return tags, nil
	}
	for more := true; more; more = rest != "" {
		var tag entityTag
		rest, tag.weak = strings.CutPrefix(rest, "W/")
		quoted, isQuoted := strings.CutPrefix(rest, `"`)
		opaque, after, closed := strings.Cut(quoted, `"`)
		after = strings.TrimLeft(after, " \t")
		if !isQuoted || !closed || after != "" && after[0] != ',' {
			return entityTags{}, badRequest(`%s must be * or a list of tags such as "12-ab", as an ETag header gave them`, name)
		}
		tag.opaque = opaque
		tags.list = append(tags.list, tag)
		rest = strings.TrimLeft(after, ", \t")
	}
	return tags, nil
}

// ifMatch makes a change depend on what the request's If-Match and If-None-Match say. A deletion of what does not exist
// is refused as such.
func (c collection) ifMatch(r *http.Request, key string) (context.Context, error) {
	wanted, err := tagsIn(r, "If-Match")
	if err != nil {
		return nil, err
	}
	unwanted, err := tagsIn(r, "If-None-Match")
	if err != nil || c.prefix == "" || !wanted.given && !unwanted.given {
		return r.Context(), err
	}
	return objects.If(r.Context(), objects.Condition{StoreKey: c.prefix + key, Check: func(revision int64) error {
		exists := revision != 0
		switch {
		case !exists && r.Method == http.MethodDelete:
			return nil
		case !exists && wanted.given:
			return changed("%s %q does not exist, and If-Match allows only to change one; nothing was written", c.kind, shorten(key))
		case exists && wanted.given && !wanted.all && !wanted.haveVersion(revision):
			return changed("%s %q has changed since the tag in If-Match was given: it is at version %d; nothing was done, read it again",
				c.kind, shorten(key), revision)
		case exists && unwanted.all:
			return changed("%s %q exists already, and If-None-Match: * allows only to create it; nothing was written", c.kind, shorten(key))
		case exists && unwanted.haveVersion(revision):
			return changed("%s %q is at version %d, which If-None-Match excludes; nothing was done", c.kind, shorten(key), revision)
		}
		return nil
	}}), nil
}

func changed(format string, args ...any) error {
	return &objects.Error{Kind: objects.Changed, Message: fmt.Sprintf(format, args...)}
}

// ifVersion makes a change depend on the resourceVersion in the body, if there is one: who sends back what they read do
// not undo what others wrote since.
func ifVersion(ctx context.Context, storeKey string, body []byte) (context.Context, error) {
	var sent struct {
		ResourceVersion string `json:"resourceVersion"`
	}
	if err := decodeBody(body, &sent); err != nil || sent.ResourceVersion == "" {
		return ctx, err
	}
	return objects.If(ctx, objects.Condition{StoreKey: storeKey, Check: func(revision int64) error {
		is := strconv.FormatInt(revision, 10)
		if is == sent.ResourceVersion {
			return nil
		}
		if revision == 0 {
			is = "gone"
		}
		return &objects.Error{Kind: objects.Conflict, Message: fmt.Sprintf(
			"the object has changed since it was read: its resourceVersion is %s, the one sent is %q; nothing was written, read it again, "+
				"or leave out resourceVersion to write it in any case", is, shorten(sent.ResourceVersion))}
	}}), nil
}
