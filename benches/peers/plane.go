package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	patience = 3 * time.Minute
	pause    = 200 * time.Millisecond
	token    = "peers"
)

// probes asks whether a program is ready.
var probes = &http.Client{Timeout: 5 * time.Second}

// plane is a control plane without nodes and controllers: etcd and kube-apiserver.
type plane struct {
	directory, kubectl, kubeconfig, address string

	etcd, apiserver *process
	trust           *x509.CertPool
}

// startPlane starts the programs of `bin` and waits until they are ready. Their files are in `directory`.
func startPlane(bin, directory string) (*plane, error) {
	ports, err := freePorts(3)
	if err != nil {
		return nil, err
	}
	p := &plane{
		directory:  directory,
		kubectl:    filepath.Join(bin, "kubectl"),
		kubeconfig: filepath.Join(directory, "kubeconfig"),
		address:    fmt.Sprintf("https://127.0.0.1:%d", ports[2]),
	}
	clients, peers := fmt.Sprintf("http://127.0.0.1:%d", ports[0]), fmt.Sprintf("http://127.0.0.1:%d", ports[1])
	p.etcd, err = start(directory, "etcd", nil, filepath.Join(bin, "etcd"),
		"--data-dir="+filepath.Join(directory, "etcd"), "--listen-client-urls="+clients,
		"--advertise-client-urls="+clients, "--listen-peer-urls="+peers,
		"--initial-advertise-peer-urls="+peers, "--initial-cluster=default="+peers, "--unsafe-no-fsync")
	if err != nil {
		return nil, err
	}
	err = p.etcd.ready(func() error { return get(probes, clients+"/health") })
	if err == nil {
		err = p.startAPIServer(filepath.Join(bin, "kube-apiserver"), clients, ports[2])
	}
	if err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

func (p *plane) startAPIServer(program, etcd string, port int) error {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	block := pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}
	accounts, users := filepath.Join(p.directory, "accounts.key"), filepath.Join(p.directory, "tokens.csv")
	certificates := filepath.Join(p.directory, "apiserver")
	if err := errors.Join(
		os.WriteFile(accounts, pem.EncodeToMemory(&block), 0o600),
		os.WriteFile(users, []byte(token+",admin,admin,system:masters\n"), 0o600),
	); err != nil {
		return err
	}
	p.apiserver, err = start(p.directory, "kube-apiserver", nil, program,
		"--etcd-servers="+etcd, "--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", port),
		"--cert-dir="+certificates, "--service-account-issuer=https://kubernetes.default.svc",
		"--service-account-signing-key-file="+accounts, "--service-account-key-file="+accounts,
		"--token-auth-file="+users, "--authorization-mode=RBAC", "--service-cluster-ip-range=10.0.0.0/24",
		// It would wait for service accounts of a controller, and no controllers run here.
		"--disable-admission-plugins=ServiceAccount")
	if err != nil {
		return err
	}
	var authority []byte
	err = p.apiserver.ready(func() (err error) {
		authority, err = os.ReadFile(filepath.Join(certificates, "apiserver.crt"))
		return err
	})
	if err != nil {
		return err
	}
	p.trust = x509.NewCertPool()
	p.trust.AppendCertsFromPEM(authority)
	if err := p.writeKubeconfig(authority); err != nil {
		return err
	}
	return p.apiserver.ready(func() error { return get(p.client(), p.address+"/readyz") })
}

func (p *plane) writeKubeconfig(authority []byte) error {
	config := object{
		"apiVersion": "v1", "kind": "Config", "current-context": "peers",
		"clusters": []any{object{"name": "peers", "cluster": object{
			"server": p.address, "certificate-authority-data": authority}}},
		"users":    []any{object{"name": "peers", "user": object{"token": token}}},
		"contexts": []any{object{"name": "peers", "context": object{"cluster": "peers", "user": "peers"}}},
	}
	text, err := json.Marshal(config)
	if err != nil {
		return err
	}
	return os.WriteFile(p.kubeconfig, text, 0o600)
}

func (p *plane) stop() {
	p.apiserver.stop()
	p.etcd.stop()
}

// client has one connection, with HTTP/1.1.
func (p *plane) client() *http.Client {
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: p.trust},
		TLSNextProto:    map[string]func(string, *tls.Conn) http.RoundTripper{},
		MaxConnsPerHost: 1,
	}, Timeout: time.Minute}
}

// object is a Kubernetes object, or a part of one.
type object = map[string]any

// run runs kubectl, and returns its output. The error has what kubectl printed.
func (p *plane) run(input []byte, args ...string) ([]byte, error) {
	deadline, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	command := exec.CommandContext(deadline, p.kubectl, append([]string{"--kubeconfig=" + p.kubeconfig}, args...)...)
	command.Stdin = bytes.NewReader(input)
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	var output, problems bytes.Buffer
	command.Stdout, command.Stderr = &output, &problems
	if err := command.Run(); err != nil {
		return output.Bytes(), fmt.Errorf("kubectl %s: %w\n%s", strings.Join(args, " "), err, problems.String())
	}
	return output.Bytes(), nil
}

func (p *plane) apply(objects ...object) error {
	var text bytes.Buffer
	for _, object := range objects {
		if err := json.NewEncoder(&text).Encode(object); err != nil {
			return err
		}
	}
	_, err := p.run(text.Bytes(), "apply", "--server-side", "-f", "-")
	return err
}

func (p *plane) applyFile(file string) error {
	_, err := p.run(nil, "apply", "--server-side", "-f", file)
	return err
}

// read reads the objects of a file.
func (p *plane) read(file string) ([]object, error) {
	text, err := p.run(nil, "create", "--dry-run=client", "--validate=false", "-o", "json", "-f", file)
	if err != nil {
		return nil, err
	}
	var objects []object
	for decoder := json.NewDecoder(bytes.NewReader(text)); ; {
		var next object
		if err := decoder.Decode(&next); errors.Is(err, io.EOF) {
			return objects, nil
		} else if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		objects = append(objects, next)
	}
}

// install tries to apply something until it succeeds, and waits until the API server serves all custom resources.
func (p *plane) install(what string, apply func() error) error {
	if err := until(what, apply); err != nil {
		return err
	}
	_, err := p.run(nil, "wait", "--for=condition=Established", "--timeout=60s", "customresourcedefinitions", "--all")
	return err
}

// process is a running program.
type process struct {
	name    string
	command *exec.Cmd
	// ended is closed when the program has ended.
	ended chan struct{}
}

// start starts a program. Its log is in `directory`, and it ends with this program.
func start(directory, name string, environment []string, program string, args ...string) (*process, error) {
	log, err := os.Create(filepath.Join(directory, name+".log"))
	if err != nil {
		return nil, err
	}
	defer log.Close()
	command := exec.Command(program, args...)
	command.Stdout, command.Stderr = log, log
	command.Env = append(os.Environ(), environment...)
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("%s cannot be started: %w", name, err)
	}
	p := &process{name: name, command: command, ended: make(chan struct{})}
	go func() {
		// How it has ended is in its log.
		_ = command.Wait()
		close(p.ended)
	}()
	return p, nil
}

// ready tries something until it succeeds or the program has ended.
func (p *process) ready(try func() error) error {
	var ended error
	err := until(p.name, func() error {
		select {
		case <-p.ended:
			ended = fmt.Errorf("%s has ended", p.name)
			return nil
		default:
			return try()
		}
	})
	return errors.Join(ended, err)
}

func (p *process) stop() {
	if p == nil {
		return
	}
	// It may have ended already. The files are deleted afterwards, so nothing is lost.
	_ = p.command.Process.Kill()
	<-p.ended
}

// cpu is the processor time of the process so far, in user and kernel mode. Linux counts it in hundredths of a second.
func (p *process) cpu() (time.Duration, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.command.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("%s has ended: %w", p.name, err)
	}
	// The second field is the name in parentheses, which may contain anything.
	fields := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(fields) < 13 {
		return 0, fmt.Errorf("unexpected /proc/…/stat: %s", text)
	}
	user, userErr := strconv.Atoi(fields[11])
	kernel, kernelErr := strconv.Atoi(fields[12])
	return time.Duration(user+kernel) * 10 * time.Millisecond, errors.Join(userErr, kernelErr)
}

// resident is the resident memory of the process, in bytes.
func (p *process) resident() (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.command.Process.Pid))
	if err != nil {
		return 0, fmt.Errorf("%s has ended: %w", p.name, err)
	}
	for line := range strings.Lines(string(text)) {
		if rest, found := strings.CutPrefix(line, "VmRSS:"); found {
			kib, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 64)
			return kib * 1024, err
		}
	}
	return 0, fmt.Errorf("%s has ended", p.name)
}

// until tries something until it succeeds.
func until(what string, try func() error) error {
	for deadline := time.Now().Add(patience); ; time.Sleep(pause) {
		err := try()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s is not ready after %s: %w", what, patience, err)
		}
	}
}

// get succeeds if the answer is 200.
func get(client *http.Client, url string) error {
	request, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	answer, err := client.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", answer.Status, body)
	}
	return err
}

// freePorts returns ports on which nobody listens.
func freePorts(count int) ([]int, error) {
	ports := make([]int, count)
	for i := range ports {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer listener.Close()
		ports[i] = listener.Addr().(*net.TCPAddr).Port
	}
	return ports, nil
}
