package api

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/contiv/contiv/netmaster/ledger"
)

// lastEventID is where a client that was cut off says how far it had come.
const lastEventID = "Last-Event-ID"

// watched is what one watches of a collection.
type watched struct {
	*collection
	query
}

// watchAsked tells whether a request is for changes instead of a list.
func watchAsked(r *http.Request) (bool, error) {
	switch wanted := r.URL.Query().Get(askWatch); wanted {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	default:
		return false, badRequest("%s must be true or false, not %q", askWatch, shorten(wanted))
	}
}

const watchPath = "/api/v1/watch"

// isStream tells whether the answer may go on for ever.
func isStream(r *http.Request) bool {
	asked, _ := watchAsked(r)
	return asked && r.Method == http.MethodGet || strings.TrimSuffix(r.URL.Path, "/") == watchPath
}

// limit gives a request its time; a stream has all there is.
func (s *server) limit(ctx context.Context, r *http.Request) (context.Context, context.CancelFunc) {
	if isStream(r) {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, s.Timeout)
}

// watchOne is the stream of a collection: GET /api/v1/networks/?watch=true&tenantName=blue.
func (s *server) watchOne(c collection, r *http.Request) (any, error) {
	words, err := wordsOf(r)
	if err != nil {
		return nil, err
	}
	var q query
	for name, value := range choices(words) {
		switch name {
		case askLimit, askContinue:
			return nil, badRequest("%s does not go with %s=true", name, askWatch)
		}
		if err := q.demand(c, name, value); err != nil {
			return nil, err
		}
	}
	return s.stream(r, words, []watched{{&c, q}})
}

// watchAll is the stream of all collections, or of some: GET /api/v1/watch?collection=networks,rules&tenantName=blue.
func (s *server) watchAll(r *http.Request) (any, error) {
	words, err := wordsOf(r)
	if err != nil {
		return nil, err
	}
	some, wanted := words.Has(askCollection), make(map[string]bool)
	if some {
		for name := range strings.SplitSeq(words.Get(askCollection), ",") {
			wanted[name] = true
		}
		words.Del(askCollection)
	}
	byTenant := words.Has(tenantField)
	var of []watched
	for i := range s.collections {
		c := &s.collections[i]
		_, hasTenant := c.fields.find(tenantField)
		if c.prefix == "" || some && !wanted[c.name] || byTenant && !hasTenant {
			continue
		}
		delete(wanted, c.name)
		w := watched{collection: c}
		for name, value := range choices(words) {
			if name != tenantField {
				return nil, badRequest("%q is unknown; %s takes %s, %s, %s and %s", shorten(name), watchPath, askCollection, tenantField, askSince, askConsistency)
			}
			if err := w.demand(*c, name, value); err != nil {
				return nil, err
			}
		}
		of = append(of, w)
	}
	for name := range wanted {
		return nil, badRequest("%q cannot be watched%s; these can: %s", shorten(name), map[bool]string{true: " by tenant"}[byTenant], s.watchable(byTenant))
	}
	return s.stream(r, words, of)
}

func (s *server) watchable(byTenant bool) string {
	var names []string
	for _, c := range s.collections {
		if _, hasTenant := c.fields.find(tenantField); c.prefix != "" && (hasTenant || !byTenant) {
			names = append(names, c.name)
		}
	}
	return strings.Join(names, ", ")
}

// choices are the words of a query that choose objects.
func choices(words url.Values) func(yield func(name, value string) bool) {
	return func(yield func(name, value string) bool) {
		for name := range words {
			if !slices.Contains([]string{askConsistency, askWatch, askSince}, name) && !yield(name, words.Get(name)) {
				return
			}
		}
	}
}

// stream begins where the request says, or with everything there is.
func (s *server) stream(r *http.Request, words url.Values, of []watched) (any, error) {
	since := r.Header.Get(lastEventID) // newer than what the URL says, which a client repeats
	if since == "" {
		since = words.Get(askSince)
	}
	out := &stream{server: s, of: of}
	resume, revision := since != "", int64(0)
	if resume {
		var err error
		if revision, err = strconv.ParseInt(since, 10, 64); err != nil || revision < 0 {
			return nil, badRequest("%s and %s must be a revision, as the id of an event says it, not %q", askSince, lastEventID, shorten(since))
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), s.Timeout)
	defer cancel()
	err := s.view(r.WithContext(ctx), func(m *ledger.Model) {
		if resume {
			out.position, resume = s.history.after(revision)
		}
		if !resume {
			out.begin(m)
		}
	})
	return out, err
}
