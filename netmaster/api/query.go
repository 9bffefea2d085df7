package api

import (
	"encoding/base64"
	"encoding/json"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/contiv/contiv/netmaster/ledger"
	"github.com/contiv/contiv/state"
)

// Words that the query of a list knows beside the fields of its objects.
const (
	askConsistency = "consistency"
	askLimit       = "limit"
	askContinue    = "continue"
	askWatch       = "watch"
	askSince       = "since"
	askCollection  = "collection" // of /api/v1/watch
	tenantField    = "tenantName"
)

// field is one that lists can be filtered by.
type field struct {
	name   string
	index  int // in the record
	number bool
}

type fields []field

// fieldsOf finds the members of a record that are a text or a whole number.
func fieldsOf[T any]() (out fields) {
	record := reflect.TypeFor[T]()
	for i := range record.NumField() {
		name, _, _ := strings.Cut(record.Field(i).Tag.Get("json"), ",")
		kind := record.Field(i).Type.Kind()
		if name != "" && (kind == reflect.String || kind == reflect.Int) {
			out = append(out, field{name, i, kind == reflect.Int})
		}
	}
	return out
}

func (f fields) find(name string) (field, bool) {
	i := slices.IndexFunc(f, func(candidate field) bool { return candidate.name == name })
	if i < 0 {
		return field{}, false
	}
	return f[i], true
}

func (f fields) names() string {
	names := make([]string, 0, len(f))
	for _, known := range f {
		names = append(names, known.name)
	}
	return strings.Join(names, ", ")
}

// condition is one field's value that objects must have. A field that an object leaves out is empty, or zero.
type condition struct {
	field
	text string
	int  int64
}

func (f field) equal(value string) (condition, error) {
	c := condition{field: f, text: value}
	if f.number {
		var err error
		if c.int, err = strconv.ParseInt(value, 10, 64); err != nil {
			return c, badRequest("%s must be a whole number, not %q", f.name, shorten(value))
		}
	}
	return c, nil
}

// filter is what objects must have, all of it.
type filter []condition

func (f filter) match(record state.Record) bool {
	if len(f) == 0 {
		return true
	}
	members := reflect.ValueOf(record).Elem()
	for _, c := range f {
		member := members.Field(c.index)
		if c.number && member.Int() != c.int || !c.number && member.String() != c.text {
			return false
		}
	}
	return true
}

// query is what the request of a list asks for.
type query struct {
	filter filter
	tenant string // of the filter
	chosen string // the filter as text, always the same for the same
	limit  int    // 0: no limit
	after  string // model key that the page begins behind
	// words are all that were asked, to ask for the next page.
	words url.Values
}

// queryOf reads the query of a list. Every word must be known and make sense: a filter that was misspelt must not
// answer more than was asked for.
func (c collection) queryOf(r *http.Request) (query, error) {
	words, err := wordsOf(r)
	if err != nil {
		return query{}, err
	}
	q := query{words: words}
	chosen := url.Values{}
	for name := range words {
		switch value := words.Get(name); name {
		case askConsistency, askWatch: // looked at elsewhere
		case askContinue: // when the filter is known
		case askSince:
			return query{}, badRequest("%s goes with %s=true", name, askWatch)
		case askLimit:
			if q.limit, err = strconv.Atoi(value); err != nil || q.limit < 1 {
				return query{}, badRequest("limit must be a whole number above 0, not %q", shorten(value))
			}
		default:
			if err := q.demand(c, name, value); err != nil {
				return query{}, err
			}
			chosen.Set(name, value)
		}
	}
	q.chosen = chosen.Encode()
	if words.Has(askContinue) {
		q.after, err = c.readToken(words.Get(askContinue), q.chosen)
	}
	return q, err
}

// demand adds a field's value to the filter.
func (q *query) demand(c collection, name, value string) error {
	known, ok := c.fields.find(name)
	if !ok {
		return badRequest("%s cannot be chosen by %q; by these they can: %s; other words are %s, %s, %s, %s and %s", c.name, shorten(name),
			c.fields.names(), askConsistency, askLimit, askContinue, askWatch, askSince)
	}
	condition, err := known.equal(value)
	if err != nil {
		return err
	}
	q.filter = append(q.filter, condition)
	if name == tenantField {
		q.tenant = value
	}
	return nil
}

// wordsOf reads a query in which every word stands at most once.
func wordsOf(r *http.Request) (url.Values, error) {
	words, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return nil, badRequest("the query cannot be read: %v", err)
	}
	for name, values := range words {
		if len(values) > 1 {
			return nil, badRequest("%q is asked for %d times; once is enough", shorten(name), len(values))
		}
	}
	return words, nil
}

// token says where a page ended. It names a key, not a number, so that what comes and goes moves nothing else.
type token struct {
	Collection string `json:"c"`
	Chosen     string `json:"f,omitempty"`
	After      string `json:"k"`
}

func (c collection) makeToken(chosen, after string) string {
	data, _ := json.Marshal(token{c.name, chosen, after}) // of strings: it cannot fail
	return base64.RawURLEncoding.EncodeToString(data)
}

func (c collection) readToken(text, chosen string) (string, error) {
	data, err := base64.RawURLEncoding.DecodeString(text)
	var sent token
	if err != nil || json.Unmarshal(data, &sent) != nil || sent.After == "" {
		return "", badRequest("continue must be what the link to the next page says; begin again without it")
	}
	if sent.Collection != c.name || sent.Chosen != chosen {
		return "", badRequest("continue is of another list (%s?%s); keep the filter while you go from page to page, or begin again without it",
			shorten(sent.Collection), shorten(sent.Chosen))
	}
	return sent.After, nil
}

// each calls visit with the objects that a query asks for, in the order of their keys, until it returns false. A tenant
// is found at once, other fields by looking.
func (c collection) each(m *ledger.Model, q query, visit func(key string, record state.Record, revision int64) bool) {
	if c.prefix == "" {
		return
	}
	prefix, after := c.prefix, ""
	if q.tenant != "" && c.perTenant {
		prefix += q.tenant + ":"
	}
	if q.after != "" {
		after = c.prefix + q.after
	}
	m.Ascend(prefix, after, func(storeKey string, record state.Record, revision int64) bool {
		return !q.filter.match(record) || visit(storeKey[len(c.prefix):], record, revision)
	})
}

// page shows a page of objects, and the key of the last if there are more.
func (c collection) page(m *ledger.Model, q query) (shown []any, last string) {
	shown = []any{}
	more := false
	c.each(m, q, func(key string, _ state.Record, _ int64) bool {
		object := c.one(m, key)
		if object == nil {
			return true // it is on its way out
		}
		if more = q.limit > 0 && len(shown) == q.limit; more {
			return false
		}
		shown, last = append(shown, object), key
		return true
	})
	if !more {
		last = ""
	}
	return shown, last
}

// list answers with the objects of a collection, or with a stream of their changes.
func (s *server) list(c collection) answer {
	return func(r *http.Request) (any, error) {
		if watching, err := watchAsked(r); err != nil {
			return nil, err
		} else if watching {
			return s.watchOne(c, r)
		}
		q, err := c.queryOf(r)
		if err != nil {
			return nil, err
		}
		var out reply
		var last string
		err = s.view(r, func(m *ledger.Model) {
			out.revision = m.Revision()
			out.body, last = c.page(m, q)
		})
		if last != "" {
			q.words.Set(askContinue, c.makeToken(q.chosen, last))
			out.next = r.URL.EscapedPath() + "?" + q.words.Encode()
		}
		return out, err
	}
}

func (s *server) one(c collection) answer { return s.found(c.kind, c.tagged) }
