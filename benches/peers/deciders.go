package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"
)

// label selects the webhook for a record, so that all are registered and can take turns.
const label = "bench"

// decider is a webhook with its rules.
type decider struct {
	// name is also the value of the label.
	name, shown string
	// changes says whether it completes records.
	changes bool
	process *process
	// idle is the resident memory before the measurements, in bytes.
	idle float64
}

// authority signs the certificate of the webhooks that do not create their own.
type authority struct {
	directory string
	bundle    []byte
}

func newAuthority(directory string) (*authority, error) {
	directory = filepath.Join(directory, "certificates")
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "peers"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, DNSNames: []string{"localhost"},
	}
	issuer := *template
	issuer.IPAddresses, issuer.DNSNames = nil, nil
	authorityKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	root, err := x509.CreateCertificate(rand.Reader, &issuer, &issuer, &authorityKey.PublicKey, authorityKey)
	if err != nil {
		return nil, err
	}
	template.IsCA, template.SerialNumber, template.KeyUsage = false, big.NewInt(2), x509.KeyUsageDigitalSignature
	leaf, err := x509.CreateCertificate(rand.Reader, template, &issuer, &key.PublicKey, authorityKey)
	if err != nil {
		return nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	encoded := func(kind string, bytes []byte) []byte {
		return pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: bytes})
	}
	bundle := encoded("CERTIFICATE", root)
	return &authority{directory: directory, bundle: bundle}, errors.Join(
		os.MkdirAll(directory, 0o700),
		os.WriteFile(filepath.Join(directory, "tls.crt"), encoded("CERTIFICATE", leaf), 0o600),
		os.WriteFile(filepath.Join(directory, "tls.key"), encoded("PRIVATE KEY", secret), 0o600),
		os.WriteFile(filepath.Join(directory, "ca.crt"), bundle, 0o600),
	)
}

// startDeciders starts and registers all of them. With an error, it also returns those that it has started.
func startDeciders(p *plane, a *authority, s settings) ([]*decider, error) {
	ours, err := startOurs(p, a, s)
	if err != nil {
		return nil, err
	}
	deciders := []*decider{ours}
	if s.kyverno != "" {
		kyverno, err := startKyverno(p, s)
		if err != nil {
			return deciders, err
		}
		live := &decider{name: "kyverno-live", shown: "Kyverno, live", changes: true, process: kyverno.process}
		deciders = append(deciders, kyverno, live)
	}
	if s.gatekeeper != "" {
		gatekeeper, err := startGatekeeper(p, a, s)
		if err != nil {
			return deciders, err
		}
		deciders = append(deciders, gatekeeper)
	}
	return deciders, nil
}

func startOurs(p *plane, a *authority, s settings) (*decider, error) {
	say("starting crm-admission …")
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	program, err := start(p.directory, "crm-admission", []string{"KUBECONFIG=" + p.kubeconfig}, s.crmAdmission,
		"serve", "--directory=cluster", fmt.Sprintf("--listen=127.0.0.1:%d", ports[0]),
		fmt.Sprintf("--admin-listen=127.0.0.1:%d", ports[1]),
		"--tls-cert="+filepath.Join(a.directory, "tls.crt"), "--tls-key="+filepath.Join(a.directory, "tls.key"))
	if err != nil {
		return nil, err
	}
	ready := fmt.Sprintf("http://127.0.0.1:%d/readyz", ports[1])
	if err := program.ready(func() error { return get(probes, ready) }); err != nil {
		program.stop()
		return nil, err
	}
	configurations, err := p.read(filepath.Join("manifests", "registration", "webhooks.yaml"))
	if err == nil {
		names := map[string]string{"mutate.crm.milo.io": "/mutate", "validate.crm.milo.io": "/validate"}
		err = register(p, a, "crm-admission", ports[0], configurations, names, nil)
	}
	if err != nil {
		program.stop()
	}
	return &decider{name: "crm-admission", shown: "crm-admission", changes: true, process: program}, err
}

// startKyverno starts its admission controller with the flags of its Deployment, and the others that it has for running
// outside of a cluster. It registers itself.
func startKyverno(p *plane, s settings) (*decider, error) {
	say("starting Kyverno …")
	// Its Deployment and configuration must exist; its pods do not run here.
	install := filepath.Join(s.kyvernoSource, "config", "install-latest-testing.yaml")
	if err := p.install("Kyverno's objects", func() error { return p.applyFile(install) }); err != nil {
		return nil, err
	}
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	environment := []string{
		"KYVERNO_NAMESPACE=kyverno", "KYVERNO_DEPLOYMENT=kyverno-admission-controller", "KYVERNO_SVC=kyverno-svc",
		"KYVERNO_POD_NAME=kyverno", "KYVERNO_SERVICEACCOUNT_NAME=kyverno-admission-controller",
		"KYVERNO_ROLE_NAME=kyverno:admission-controller", "INIT_CONFIG=kyverno", "METRICS_CONFIG=kyverno-metrics",
		"TUF_ROOT=" + filepath.Join(p.directory, "sigstore"),
	}
	program, err := start(p.directory, "kyverno", environment, s.kyverno,
		"--kubeconfig="+p.kubeconfig, fmt.Sprintf("--serverIP=127.0.0.1:%d", ports[0]),
		"--webhookServerHost=127.0.0.1", fmt.Sprintf("--webhookServerPort=%d", ports[0]),
		"--metricsHost=127.0.0.1", fmt.Sprintf("--metricsPort=%d", ports[1]), "--controllerRuntimeMetricsAddress=0",
		"--caSecretName=kyverno-svc.kyverno.svc.kyverno-tls-ca",
		"--tlsSecretName=kyverno-svc.kyverno.svc.kyverno-tls-pair",
		"--backgroundServiceAccountName=system:serviceaccount:kyverno:kyverno-background-controller",
		"--reportsServiceAccountName=system:serviceaccount:kyverno:kyverno-reports-controller",
		"--maxAPICallResponseLength=2000000", "--maxAdmissionReports=1000", "--enableDeferredLoading=true",
		"--generateValidatingAdmissionPolicy=true", "--omitEvents=PolicyApplied,PolicySkipped",
		"--loggingFormat=text", "--v=2",
		// By default, it sends 100 requests per second. The limit would be measured instead of live requests.
		"--clientRateLimitQPS=100000", "--clientRateLimitBurst=100000")
	if err != nil {
		return nil, err
	}
	// It creates its certificate itself, and only the API server knows its authority.
	client := &http.Client{
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
		Timeout:   probes.Timeout,
	}
	defer client.CloseIdleConnections()
	ready := fmt.Sprintf("https://127.0.0.1:%d/health/readiness", ports[0])
	err = program.ready(func() error { return get(client, ready) })
	if err == nil {
		// The webhook for its policies may be registered, but not answer yet.
		policies := filepath.Join("benches", "peers", "kyverno.yaml")
		err = program.ready(func() error { return p.applyFile(policies) })
	}
	if err != nil {
		program.stop()
	}
	return &decider{name: "kyverno", shown: "Kyverno", changes: true, process: program}, err
}

// startGatekeeper starts its webhook. The same process creates the kinds of the templates, because the audit, which does
// it otherwise, does not run here. It has no mutators, so its mutating webhook is not registered.
func startGatekeeper(p *plane, a *authority, s settings) (*decider, error) {
	say("starting Gatekeeper …")
	objects, err := p.read(filepath.Join(s.gatekeeperSource, "deploy", "gatekeeper.yaml"))
	if err != nil {
		return nil, err
	}
	var rest, configurations []object
	for _, object := range objects {
		if object["webhooks"] != nil {
			configurations = append(configurations, object)
		} else {
			rest = append(rest, object)
		}
	}
	if err := p.install("Gatekeeper's objects", func() error { return p.apply(rest...) }); err != nil {
		return nil, err
	}
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	environment := []string{"KUBECONFIG=" + p.kubeconfig, "POD_NAMESPACE=gatekeeper-system",
		"NAMESPACE=gatekeeper-system", "CONTAINER_NAME=manager"}
	program, err := start(p.directory, "gatekeeper", environment, s.gatekeeper,
		"--operation=webhook", "--operation=generate", "--host=127.0.0.1", fmt.Sprintf("--port=%d", ports[0]),
		fmt.Sprintf("--health-addr=127.0.0.1:%d", ports[1]), "--prometheus-port=0", "--cert-dir="+a.directory,
		// It has no pod here, into whose status it could write.
		"--debug-use-fake-pod", "--disable-cert-rotation", "--logtostderr", "--exempt-namespace=gatekeeper-system",
		"--disable-opa-builtin={http.send}")
	if err != nil {
		return nil, err
	}
	ready := fmt.Sprintf("http://127.0.0.1:%d/readyz", ports[1])
	templates := filepath.Join("benches", "peers", "gatekeeper-templates.yaml")
	constraints := filepath.Join("benches", "peers", "gatekeeper-constraints.yaml")
	for _, step := range []func() error{
		func() error { return program.ready(func() error { return get(probes, ready) }) },
		func() error { return program.ready(func() error { return p.applyFile(templates) }) },
		// It creates the kinds of the constraints from the templates.
		func() error { return program.ready(func() error { return p.applyFile(constraints) }) },
		func() error {
			rules := []any{object{"apiGroups": []string{"crm.milo.io"}, "apiVersions": []string{"v1alpha1"},
				"resources": []string{"companies", "people"}, "operations": []string{"CREATE", "UPDATE"}}}
			names := map[string]string{"validation.gatekeeper.sh": "/v1/admit"}
			return register(p, a, "gatekeeper", ports[0], configurations, names, rules)
		},
	} {
		if err := step(); err != nil {
			program.stop()
			return nil, err
		}
	}
	return &decider{name: "gatekeeper", shown: "Gatekeeper", process: program}, nil
}

// register registers webhooks as their configurations do, but for the records with this label, at a local port, with the
// failure policy Fail, and with other rules if given. It leaves out webhooks that are not in `paths`.
func register(p *plane, a *authority, name string, port int, configurations []object, paths map[string]string,
	rules []any) error {
	for _, configuration := range configurations {
		webhooks, ok := configuration["webhooks"].([]any)
		if !ok {
			continue
		}
		var kept []any
		for _, webhook := range webhooks {
			webhook := webhook.(object)
			shipped, _ := webhook["name"].(string)
			path, wanted := paths[shipped]
			if !wanted {
				continue
			}
			url := fmt.Sprintf("https://127.0.0.1:%d%s", port, path)
			webhook["clientConfig"] = object{"url": url, "caBundle": a.bundle}
			webhook["objectSelector"] = object{"matchLabels": object{label: name}}
			webhook["failurePolicy"] = "Fail"
			if rules != nil {
				webhook["rules"] = rules
			}
			kept = append(kept, webhook)
		}
		if kept == nil {
			continue
		}
		configuration["webhooks"] = kept
		configuration["metadata"] = object{"name": "peers-" + name}
		if err := p.apply(configuration); err != nil {
			return err
		}
	}
	return nil
}
