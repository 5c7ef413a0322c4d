// Measures creates through one API server: without a webhook, with crm-admission, with Kyverno and with Gatekeeper, in
// turns. Before it measures, it proves that each of them decides as docs/peers.md says.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
)

// settings are the flags.
type settings struct {
	controlPlane, crmAdmission, kyverno, kyvernoSource, gatekeeper, gatekeeperSource string

	rounds    int
	seconds   float64
	companies int
}

func main() {
	var s settings
	flag.StringVar(&s.controlPlane, "control-plane", "", "directory with etcd, kube-apiserver and kubectl")
	flag.StringVar(&s.crmAdmission, "crm-admission", "", "the program crm-admission")
	flag.StringVar(&s.kyverno, "kyverno", "", "Kyverno's admission controller; without it, Kyverno is not measured")
	flag.StringVar(&s.kyvernoSource, "kyverno-source", "", "directory of Kyverno's module")
	flag.StringVar(&s.gatekeeper, "gatekeeper", "", "the program of Gatekeeper; without it, Gatekeeper is not measured")
	flag.StringVar(&s.gatekeeperSource, "gatekeeper-source", "", "directory of Gatekeeper's module")
	flag.IntVar(&s.rounds, "rounds", 5, "number of rounds")
	flag.Float64Var(&s.seconds, "seconds", 2, "duration of one measurement")
	flag.IntVar(&s.companies, "companies", 1000, "number of Companies in the cluster")
	flag.Parse()
	if s.rounds < 1 || s.seconds <= 0 || s.companies < 1 {
		fmt.Fprintln(os.Stderr, "-rounds, -seconds and -companies must be positive")
		os.Exit(2)
	}
	if err := run(s); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func say(format string, values ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", values...)
}

// run keeps the logs of the programs if there is an error.
func run(s settings) error {
	directory, err := os.MkdirTemp("", "crm-admission-peers-")
	if err != nil {
		return err
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		// The programs end with this one.
		say("%s: the logs of the programs are in %s", <-signals, directory)
		os.Exit(130)
	}()
	if err := runIn(directory, s); err != nil {
		return fmt.Errorf("%w\nthe logs of the programs are in %s", err, directory)
	}
	return os.RemoveAll(directory)
}

func runIn(directory string, s settings) error {
	say("starting the control plane …")
	plane, err := startPlane(s.controlPlane, directory)
	if err != nil {
		return err
	}
	defer plane.stop()
	kinds := filepath.Join("manifests", "crds")
	if err := plane.install("the API server", func() error { return plane.applyFile(kinds) }); err != nil {
		return err
	}
	if err := createCompanies(plane, s.companies); err != nil {
		return err
	}
	authority, err := newAuthority(directory)
	if err != nil {
		return err
	}
	deciders, err := startDeciders(plane, authority, s)
	for _, decider := range deciders {
		defer decider.process.stop()
	}
	if err != nil {
		return err
	}
	say("waiting until all of them decide …")
	for _, decider := range deciders {
		if err := decider.prove(plane); err != nil {
			return err
		}
	}
	fresh, err := askAboutFresh(plane, deciders)
	if err != nil {
		return err
	}
	say("waiting until all of them are idle …")
	for _, decider := range deciders {
		if err := decider.settle(); err != nil {
			return err
		}
	}
	for _, decider := range deciders {
		if decider.idle, err = decider.process.resident(); err != nil {
			return err
		}
	}
	results, err := measureAll(plane, deciders, s)
	if err != nil {
		return err
	}
	report(s, deciders, results, fresh)
	return nil
}
