package main

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"sync"
	"time"
)

// connections are the numbers of connections of the load.
var connections = [2]int{1, 16}

// sample is one measurement.
type sample struct {
	// p50 and cpu are in µs, rate is in creates/s, resident in bytes.
	p50, rate, cpu, resident float64
}

// series are the samples of one scenario with one decider: for each number of connections, one for each round.
type series [len(connections)][]sample

// measureAll measures every scenario with every decider, in turns. The deciders of the result are in the order of
// `deciders`, after no webhook.
func measureAll(p *plane, deciders []*decider, s settings) (map[string][]series, error) {
	everyone := append([]*decider{nil}, deciders...)
	results := map[string][]series{}
	for round := range s.rounds {
		for _, scenario := range scenarios() {
			say("round %d of %d: %s", round+1, s.rounds, scenario.shown)
			if results[scenario.name] == nil {
				results[scenario.name] = make([]series, len(everyone))
			}
			for at, count := range connections {
				for step := range everyone {
					index := (step + round) % len(everyone)
					decider := everyone[index]
					if !scenario.asks(decider) {
						continue
					}
					sample, err := measure(p, scenario.record, decider, count, s.seconds)
					if err != nil {
						return nil, err
					}
					of := &results[scenario.name][index][at]
					*of = append(*of, sample)
				}
			}
		}
	}
	return results, nil
}

// measure creates a record on several connections. Each sends the next request as soon as it has an answer.
func measure(p *plane, r record, d *decider, connections int, seconds float64) (sample, error) {
	by := nobody
	if d != nil {
		by = d.name
	}
	clients := make([]*http.Client, connections)
	for i := range clients {
		// The first request of a connection also opens it, and does not count.
		clients[i] = p.client()
		defer clients[i].CloseIdleConnections()
		if _, err := timed(p, clients[i], r, by); err != nil {
			return sample{}, err
		}
	}
	before, err := usage(d)
	if err != nil {
		return sample{}, err
	}
	times, failures := make([][]float64, connections), make([]error, connections)
	start := time.Now()
	end := start.Add(time.Duration(seconds * float64(time.Second)))
	var workers sync.WaitGroup
	for i, client := range clients {
		workers.Go(func() {
			for time.Now().Before(end) && failures[i] == nil {
				var took float64
				took, failures[i] = timed(p, client, r, by)
				times[i] = append(times[i], took)
			}
		})
	}
	workers.Wait()
	elapsed := time.Since(start)
	after, err := usage(d)
	if err != nil {
		return sample{}, err
	}
	for _, failure := range failures {
		if failure != nil {
			return sample{}, failure
		}
	}
	all := slices.Concat(times...)
	result := sample{p50: median(all), rate: float64(len(all)) / elapsed.Seconds()}
	if d != nil {
		result.cpu = float64((after - before).Microseconds()) / float64(len(all))
		result.resident, err = d.process.resident()
	}
	return result, err
}

// settle waits until the webhook has hardly used the processor for a second: what it still does because of new policies
// and Companies must not count.
func (d *decider) settle() error {
	const most = 50 * time.Millisecond
	return d.process.ready(func() error {
		before, err := d.process.cpu()
		if err != nil {
			return err
		}
		time.Sleep(time.Second)
		after, err := d.process.cpu()
		if err == nil && after-before > most {
			err = fmt.Errorf("it still uses %s of CPU time in a second", after-before)
		}
		return err
	})
}

func usage(d *decider) (time.Duration, error) {
	if d == nil {
		return 0, nil
	}
	return d.process.cpu()
}

// timed creates a record as a dry run, and returns how long it took, in µs. A denial is an error.
func timed(p *plane, client *http.Client, r record, by string) (float64, error) {
	request, err := p.request(r, "", by, true)
	if err != nil {
		return 0, err
	}
	start := time.Now()
	answer, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	took := time.Since(start)
	if err == nil && answer.StatusCode != http.StatusCreated {
		err = fmt.Errorf("%s denies a record in a measurement: %s", by, body)
	}
	return float64(took.Nanoseconds()) / 1000, err
}
