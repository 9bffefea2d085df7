package client

import (
	"context"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// RevisionHeader carries the store revision that an answer shows.
const RevisionHeader = "X-Contiv-Revision"

// defaultPage is how many objects a page has if nothing else is asked.
const defaultPage = 500

// ListOptions say what to list. The zero value is all objects, in pages of 500.
type ListOptions struct {
	// Where has the values that fields of the objects must have, such as {"tenantName": "blue"}; a number is its text.
	Where map[string]string
	// Page is how many objects to ask for at once; 0: 500.
	Page int
}

// Page is a part of a list.
type Page[T any] struct {
	Objects []T
	// Revision that the page shows. That of the first page is the one to Watch from for all that the list misses: pages
	// are read one after the other and show what there is then.
	Revision int64
}

// Pages lists objects sorted by key, page by page. An object that is there all the time is listed once, whatever comes
// and goes meanwhile. An error ends it.
func (l Collection[T, O]) Pages(ctx context.Context, opts ListOptions) iter.Seq2[Page[T], error] {
	return func(yield func(Page[T], error) bool) {
		for path := l.firstPage(opts); path != ""; {
			var page Page[T]
			header, err := l.client.ask(ctx, request{method: http.MethodGet, path: path}, &page.Objects)
			if err == nil {
				page.Revision, _ = strconv.ParseInt(header.Get(RevisionHeader), 10, 64)
				path, err = nextPage(header)
			}
			if err != nil {
				yield(Page[T]{}, err)
				return
			}
			if !yield(page, nil) {
				return
			}
		}
	}
}

// All lists objects one by one, reading them page by page.
func (l Collection[T, O]) All(ctx context.Context, opts ListOptions) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		for page, err := range l.Pages(ctx, opts) {
			if err != nil {
				var none T
				yield(none, err)
				return
			}
			for _, object := range page.Objects {
				if !yield(object, nil) {
					return
				}
			}
		}
	}
}

func (l Collection[T, O]) firstPage(opts ListOptions) string {
	query := url.Values{}
	for name, value := range opts.Where {
		query.Set(name, value)
	}
	if opts.Page <= 0 {
		opts.Page = defaultPage
	}
	query.Set("limit", strconv.Itoa(opts.Page))
	return "/api/v1/" + l.name + "/?" + query.Encode()
}

// nextPage reads the Link header; "" if there is no next page.
func nextPage(header http.Header) (string, error) {
	link := header.Get("Link")
	if link == "" {
		return "", nil
	}
	target, rest, ok := strings.Cut(strings.TrimPrefix(link, "<"), ">")
	if !ok || !strings.HasPrefix(target, "/") || !strings.Contains(rest, `rel="next"`) {
		return "", fmt.Errorf("the link to the next page cannot be read: %q", link)
	}
	return target, nil
}
