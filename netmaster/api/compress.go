package api

import (
	"net/http"

	"github.com/klauspost/compress/gzhttp"
)

// compressed answers in gzip who accepts it, if it is worth it. Streams go as they are: an event must not wait for the
// next to fill a block.
func compressed(next http.Handler) http.Handler {
	wrap, err := gzhttp.NewWrapper(gzhttp.SuffixETag(gzipSuffix))
	if err != nil {
		panic(err) // of options that do not go together
	}
	zipped := wrap(next)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isStream(r) {
			next.ServeHTTP(w, r)
			return
		}
		zipped.ServeHTTP(w, r)
	})
}
