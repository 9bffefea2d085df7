package netctl

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const (
	goodToken = "eyJhbGciOiJIUzI1NiJ9.admin.x"
	loginPath = "/api/v1/auth_proxy/login/"
)

// proxy is an authenticating proxy in front of a netmaster: it knows admin with the password secret, and ops, who may
// only read.
func proxy(t *testing.T, netmaster string, change func(*tls.Config)) *httptest.Server {
	t.Helper()
	target, err := url.Parse(netmaster)
	if err != nil {
		t.Fatal(err)
	}
	forward := httputil.NewSingleHostReverseProxy(target)
	fail := func(w http.ResponseWriter, status int, words string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_ = json.NewEncoder(w).Encode(map[string]string{"error": words})
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST "+loginPath, func(w http.ResponseWriter, r *http.Request) {
		var who struct{ Username, Password string }
		switch err := json.NewDecoder(r.Body).Decode(&who); {
		case err != nil:
			fail(w, http.StatusInternalServerError, err.Error())
		case who.Username == "" || who.Password == "":
			fail(w, http.StatusBadRequest, "username and password must be provided")
		case who.Password != "secret":
			fail(w, http.StatusUnauthorized, "Invalid username/password")
		case who.Username == "admin":
			_, _ = io.WriteString(w, `{"token":"`+goodToken+`"}`)
		default:
			_, _ = io.WriteString(w, `{"token":"`+who.Username+`"}`)
		}
	})
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		switch token := r.Header.Get("X-Auth-Token"); {
		case token == goodToken, token == "ops" && r.Method == http.MethodGet:
			forward.ServeHTTP(w, r)
		case token == "ops":
			fail(w, http.StatusForbidden, "Insufficient privileges")
		default:
			fail(w, http.StatusUnauthorized, "Missing, invalid or expired token")
		}
	})
	server := httptest.NewUnstartedServer(mux)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) //nolint:forbidigo // net/http takes no other
	server.TLS = &tls.Config{MinVersion: tls.VersionTLS12}
	if change != nil {
		change(server.TLS)
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	return server
}

// says runs netctl with words on its standard input.
func says(t *testing.T, stdin io.Reader, args ...string) (output string, status int) {
	t.Helper()
	var out bytes.Buffer
	p := &program{stdin: stdin, stdout: &out, stderr: &out, resolves: func(context.Context, string) bool { return false }}
	status = p.run(t.Context(), append([]string{"netctl"}, args...))
	return out.String(), status
}

// TestLogin is the journey F14 of the tutorial.
func TestLogin(t *testing.T) {
	s := startStage(t)
	front := proxy(t, s.url, nil)
	t.Setenv("NETMASTER", front.URL)
	lines := func(words ...string) io.Reader { return strings.NewReader(strings.Join(words, "\n") + "\n") }

	got, status := says(t, lines("admin", "secret"), "--netmaster", s.url, "login")
	if status != exitServer || !strings.Contains(got, "https") {
		t.Errorf("over http: status %d, %s", status, got)
	}
	if got, status = says(t, nil, "--insecure", "net", "ls"); status != exitServer || !strings.Contains(got, "token") {
		t.Errorf("without a login: status %d, %s", status, got)
	}
	for _, tc := range []struct {
		name, password string
		status         int
		want           string
	}{
		{"admin", "wrong", exitServer, "level=error msg=Login failed: Bad username or password.\n"},
		{"admin", "", exitServer, `Login failed: status 400: {"error":"username and password must be provided"}`},
	} {
		if got, status := says(t, lines(tc.name, tc.password), "--insecure", "login"); status != tc.status || !strings.Contains(got, tc.want) {
			t.Errorf("login as %q with %q: status %d, %s", tc.name, tc.password, status, got)
		}
	}
	if got, status = says(t, lines(), "--insecure", "login"); status != exitLocal || !strings.Contains(got, "reading the password") {
		t.Errorf("nothing typed: status %d, %s", status, got)
	}
	if _, err := os.Stat(tokenFile()); err == nil {
		t.Error("a failed login left a token")
	}
	if got, status = says(t, lines("admin", "secret"), "login"); status != exitLocal || !strings.Contains(got, "certificate") {
		t.Errorf("unknown certificate: status %d, %s", status, got)
	}

	if got, status = says(t, strings.NewReader("admin\r\nsecret"), "--insecure", "login"); status != 0 || got != "Login succeeded.\n" {
		t.Fatalf("status %d, %s", status, got)
	}
	expectToken(t, goodToken)
	for _, args := range [][]string{{"tenant", "create", "blue"}, {"net", "create", "-t", "blue", "-s", "10.1.1.0/24", "web"}} {
		if got, status = says(t, nil, append([]string{"--insecure"}, args...)...); status != 0 {
			t.Errorf("%q: status %d, %s", args, status, got)
		}
	}
	if got, status = says(t, nil, "--insecure", "net", "ls", "-t", "blue"); status != 0 || !strings.Contains(got, "10.1.1.0/24") {
		t.Errorf("network ls: status %d, %s", status, got)
	}
	if got, status = says(t, nil, "--insecure", "net", "inspect", "-t", "blue", "none"); status != exitServer || !strings.Contains(got, "network not found") {
		t.Errorf("a refusal of netmaster: status %d, %s", status, got)
	}
	if got, status = says(t, nil, "--netmaster", s.url, "tenant", "ls"); status != exitServer || !strings.Contains(got, "https") {
		t.Errorf("the token over http: status %d, %s", status, got)
	}

	if got, status = says(t, lines("ops", "secret"), "--insecure", "login"); status != 0 {
		t.Fatalf("again, as another: status %d, %s", status, got)
	}
	expectToken(t, "ops")
	if got, status = says(t, nil, "--insecure", "tenant", "rm", "blue"); status != exitServer || !strings.Contains(got, "Insufficient privileges") {
		t.Errorf("forbidden: status %d, %s", status, got)
	}
	if err := os.Remove(tokenFile()); err != nil {
		t.Fatal(err)
	}
	if got, status = says(t, nil, "--insecure", "net", "ls"); status != exitServer || !strings.Contains(got, "token") {
		t.Errorf("after the file is gone: status %d, %s", status, got)
	}
}

func expectToken(t *testing.T, token string) {
	t.Helper()
	data, err := os.ReadFile(tokenFile())
	if err != nil || string(data) != `{"token":"`+token+"\"}\n" {
		t.Errorf("token file: %q, %v", data, err)
	}
	for name, want := range map[string]os.FileMode{tokenFile(): 0o600, filepath.Dir(tokenFile()): 0o700} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want mode %o", name, info.Mode(), err, want)
		}
	}
}

// TestLoginAtTerminal: the password is not shown.
func TestLoginAtTerminal(t *testing.T) {
	s := startStage(t)
	front := proxy(t, s.url, nil)
	person, terminal := openTerminal(t)
	var shown shownText
	var reading sync.WaitGroup
	reading.Go(func() { _, _ = io.Copy(&shown, person) })
	defer func() {
		_ = terminal.Close()
		_ = person.Close()
		reading.Wait()
	}()
	p := &program{stdin: terminal, stdout: terminal, stderr: terminal}
	done := make(chan int, 1)
	go func() {
		done <- p.run(t.Context(), []string{"netctl", "--insecure", "--netmaster", front.URL, "login"})
	}()
	shown.await(t, "Username: ")
	typed(t, person, "admin\n")
	shown.await(t, "Password: ")
	awaitNoEcho(t, terminal)
	typed(t, person, "secret\n")
	shown.await(t, "Login succeeded.")
	if status := <-done; status != 0 {
		t.Errorf("status %d", status)
	}
	if text := shown.String(); !strings.Contains(text, "admin") || strings.Contains(text, "secret") {
		t.Errorf("shown was %q", text)
	}
	expectToken(t, goodToken)
}

// TestLoginInterrupted: an interrupt ends the wait for a password, and the terminal shows again what is typed.
func TestLoginInterrupted(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	person, terminal := openTerminal(t)
	var shown shownText
	var reading sync.WaitGroup
	reading.Go(func() { _, _ = io.Copy(&shown, person) })
	ctx, interrupt := context.WithCancel(t.Context())
	p := &program{stdin: terminal, stdout: terminal, stderr: terminal}
	done := make(chan int, 1)
	go func() { done <- p.run(ctx, []string{"netctl", "--netmaster", "https://127.0.0.1:1", "login"}) }()
	shown.await(t, "Username: ")
	typed(t, person, "admin\n")
	shown.await(t, "Password: ")
	awaitNoEcho(t, terminal)
	interrupt()
	if status := <-done; status != exitLocal {
		t.Errorf("status %d", status)
	}
	if !echoes(t, terminal) {
		t.Error("the terminal stays silent")
	}
	typed(t, person, "\n") // ends who waits
	_ = terminal.Close()
	_ = person.Close()
	reading.Wait()
}

// openTerminal makes a terminal and the end that a person has of it.
func openTerminal(t *testing.T) (person, terminal *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	terminal, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return person, terminal
}

func typed(t *testing.T, person *os.File, keys string) {
	t.Helper()
	if _, err := person.WriteString(keys); err != nil {
		t.Fatal(err)
	}
}

func echoes(t *testing.T, terminal *os.File) bool {
	t.Helper()
	mode, err := unix.IoctlGetTermios(int(terminal.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	return mode.Lflag&unix.ECHO != 0
}

func awaitNoEcho(t *testing.T, terminal *os.File) {
	t.Helper()
	for deadline := time.After(10 * time.Second); echoes(t, terminal); {
		select {
		case <-deadline:
			t.Fatal("the terminal still shows what is typed")
		case <-time.After(time.Millisecond):
		}
	}
}

// shownText is what a terminal shows.
type shownText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (s *shownText) Write(data []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.Write(data)
}

func (s *shownText) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

func (s *shownText) await(t *testing.T, words string) {
	t.Helper()
	for deadline := time.After(10 * time.Second); !strings.Contains(s.String(), words); {
		select {
		case <-deadline:
			t.Fatalf("%q is not shown; there is %q", words, s.String())
		case <-time.After(time.Millisecond):
		}
	}
}

// TestCertificates: --tls-ca trusts a server's authority, --tls-cert and --tls-key show who netctl is.
func TestCertificates(t *testing.T) {
	s := startStage(t)
	front := proxy(t, s.url, func(c *tls.Config) { c.ClientAuth = tls.RequireAnyClientCert })
	dir := t.TempDir()
	authority := filepath.Join(dir, "ca.pem")
	writePEM(t, authority, "CERTIFICATE", front.Certificate().Raw)
	cert, key := selfSigned(t, dir)
	t.Setenv("NETMASTER", front.URL)
	for _, tc := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"--tls-ca", authority, "--tls-cert", cert, "--tls-key", key}, exitServer, "token"}, // the proxy answers
		{[]string{"--tls-ca", authority}, exitServer, "certificate required"},
		{[]string{"--tls-cert", cert, "--tls-key", key}, exitServer, "unknown authority"},
		{[]string{"--tls-ca", authority, "--tls-cert", cert}, exitLocal, "belong together"},
		{[]string{"--tls-ca", key}, exitLocal, "holds no certificate"},
		{[]string{"--tls-ca", dir + "/none"}, exitLocal, "no such file"},
		{[]string{"--tls-cert", authority, "--tls-key", key}, exitLocal, "--tls-cert, --tls-key"},
	} {
		if got, status := says(t, nil, append(tc.args, "tenant", "ls")...); status != tc.status || !strings.Contains(got, tc.want) {
			t.Errorf("%q: status %d, %s", tc.args, status, got)
		}
	}
	for name, value := range map[string]string{"CA": authority, "CERT": cert, "KEY": key} {
		t.Setenv("NETCTL_TLS_"+name, value)
	}
	if got, status := says(t, strings.NewReader("admin\nsecret\n"), "login"); status != 0 {
		t.Fatalf("by the environment: status %d, %s", status, got)
	}
	if got, status := says(t, nil, "tenant", "ls"); status != 0 || !strings.Contains(got, "default") {
		t.Errorf("status %d, %s", status, got)
	}
}

func writePEM(t *testing.T, name, kind string, der []byte) {
	t.Helper()
	if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
}

func selfSigned(t *testing.T, dir string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	cert, key = filepath.Join(dir, "netctl.pem"), filepath.Join(dir, "netctl.key")
	writePEM(t, cert, "CERTIFICATE", der)
	writePEM(t, key, "EC PRIVATE KEY", keyDER)
	return cert, key
}
