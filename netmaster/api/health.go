package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"

	"github.com/contiv/contiv/netmaster/ledger"
)

// Health answers with what is wrong, in words: 200 "ok", or 503 and the text of check's error. To clients that ask for
// JSON it is {"status": "ok"} or {"status": "not ready", "reason": "..."}, as the agent has it.
func Health(check func(ctx context.Context) error) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := struct {
			Status string `json:"status"`
			Reason string `json:"reason,omitempty"`
		}{Status: "ok"}
		status, words := http.StatusOK, "ok"
		if err := check(r.Context()); err != nil {
			status, answer.Status, answer.Reason = http.StatusServiceUnavailable, "not ready", err.Error()
			words = "not ready: " + err.Error()
		}
		w.Header().Set("Cache-Control", "no-store")
		if !wantsJSON(r) {
			w.Header().Set("Content-Type", "text/plain; charset=utf-8")
			w.WriteHeader(status)
			fmt.Fprintln(w, words)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(answer) // a client that went away is no matter of ours
	})
}

// Refuse answers every request as the API answers one that fails, with a status and the words.
func Refuse(status int, words func() string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		writeError(w, r.WithContext(identify(w, r)), &statusError{status, words()})
	})
}

// shownProblems is how many unreadable records are named one by one.
const shownProblems = 10

// unreadable warns of records of the store with which something is wrong.
func unreadable(m *ledger.Model) (warnings []string) {
	problems := m.Problems()
	for i, problem := range problems {
		if i == shownProblems {
			return append(warnings, fmt.Sprintf("%d more records of the store cannot be read or are not valid", len(problems)-i))
		}
		what := "cannot be read and is left out"
		if problem.Kept {
			what = "is not as it should be"
		}
		reason := strings.TrimPrefix(problem.Reason, fmt.Sprintf("reading %q: ", problem.Key))
		warnings = append(warnings, fmt.Sprintf("record %q of the store %s: %s", problem.Key, what, reason))
	}
	return warnings
}
