package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
)

// nobody is the value of the label with which no webhook is called.
const nobody = "nobody"

// record is a record to create.
type record struct {
	kind, plural string
	spec         object
}

func company(changes object) record {
	spec := object{
		"displayName": "Acme Corporation", "domains": []string{"acme.com", "acme.io"},
		"description":     "Makes everything that a coyote could need.",
		"linkedinProfile": "https://linkedin.com/company/acme-corp",
		"creatorRef":      object{"name": "alice"},
	}
	for field, value := range changes {
		if spec[field] = value; value == nil {
			delete(spec, field)
		}
	}
	return record{"Company", "companies", spec}
}

func person(company string) record {
	return record{"Person", "people", object{
		"displayName": "Wile E. Coyote", "jobTitle": "Head of Product Testing",
		"linkedinProfile": "https://linkedin.com/in/wile-coyote",
		"companyRef":      object{"name": company}, "creatorRef": object{"name": "alice"},
	}}
}

// incomplete has no creator, and a domain in upper case.
func incomplete() record {
	return company(object{"creatorRef": nil, "domains": []string{"ACME.com", "acme.io"}})
}

// body is the record as JSON; `label` selects who decides. Without a name, the API server makes one.
func (r record) body(name, by string) []byte {
	metadata := object{"labels": object{"crm.milo.io/source": "referral", label: by}}
	if name == "" {
		metadata["generateName"] = "peers-"
	} else {
		metadata["name"] = name
	}
	text, err := json.Marshal(object{
		"apiVersion": "crm.milo.io/v1alpha1", "kind": r.kind, "metadata": metadata, "spec": r.spec})
	if err != nil {
		panic(err) // Only constants are in it.
	}
	return text
}

// request creates a record, or only tries to.
func (p *plane) request(r record, name, by string, dryRun bool) (*http.Request, error) {
	url := fmt.Sprintf("%s/apis/crm.milo.io/v1alpha1/%s?fieldManager=peers", p.address, r.plural)
	if dryRun {
		url += "&dryRun=All"
	}
	request, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(r.body(name, by)))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", "application/json")
	return request, nil
}

// create returns whether the record was created, and the answer.
func (p *plane) create(client *http.Client, r record, name, by string, dryRun bool) (bool, string, error) {
	request, err := p.request(r, name, by, dryRun)
	if err != nil {
		return false, "", err
	}
	answer, err := client.Do(request)
	if err != nil {
		return false, "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return answer.StatusCode == http.StatusCreated, string(body), err
}

func createCompanies(p *plane, count int) error {
	const connections = 8
	numbers, failures := make(chan int), make(chan error, connections)
	var workers sync.WaitGroup
	for range connections {
		workers.Go(func() {
			client := p.client()
			defer client.CloseIdleConnections()
			for number := range numbers {
				created, answer, err := p.create(client, company(nil), fmt.Sprintf("company-%d", number), nobody, false)
				if err == nil && !created {
					err = fmt.Errorf("the Company was not created: %s", answer)
				}
				if err != nil {
					failures <- err
					return
				}
			}
		})
	}
	var err error
	for number := 0; number < count && err == nil; number++ {
		select {
		case numbers <- number:
		case err = <-failures:
		}
	}
	close(numbers)
	workers.Wait()
	close(failures)
	if err == nil {
		// One of the last Companies may have failed. Without a failure, this is nil.
		err = <-failures
	}
	return err
}

// prove returns an error if the decider does not decide as docs/peers.md says. It waits until it does. The denials are
// first, because without its webhook, all complete records would be created.
func (d *decider) prove(p *plane) error {
	client := p.client()
	defer client.CloseIdleConnections()
	nameless := person("no-such-company")
	nameless.spec["displayName"] = " "
	blank, domain := company(object{"displayName": " "}), company(object{"domains": []string{"ACME.com"}})
	type expectation struct {
		record  record
		created bool
		// part is in the answer.
		part string
	}
	expected := []expectation{
		{blank, false, "blank"},
		{person("no-such-company"), false, "no-such-company"},
		{nameless, false, "blank"},
	}
	if d.changes {
		expected = append(expected,
			expectation{domain, true, `"domains":["acme.com"]`},
			expectation{incomplete(), true, `"creatorRef":{"name":"admin"}`})
	} else {
		expected = append(expected,
			expectation{domain, false, "lower case"},
			expectation{incomplete(), false, "creatorRef"})
	}
	expected = append(expected,
		expectation{company(nil), true, `"acme.com"`},
		expectation{person("company-0"), true, `"company-0"`})
	for _, expected := range expected {
		var answer string
		err := d.process.ready(func() (err error) {
			var created bool
			created, answer, err = p.create(client, expected.record, "", d.name, true)
			if err == nil && (created != expected.created || !strings.Contains(answer, expected.part)) {
				err = fmt.Errorf("the answer to %s is: %s", expected.record.body("", d.name), answer)
			}
			return err
		})
		if err != nil {
			return err
		}
		if !expected.created {
			say("  %s: %s", d.shown, message(answer))
		}
	}
	return nil
}

// message is the message of a Status.
func message(answer string) string {
	var status struct{ Message string }
	if err := json.Unmarshal([]byte(answer), &status); err != nil {
		return answer
	}
	return strings.Join(strings.Fields(status.Message), " ")
}

const freshCompanies = 100

// askAboutFresh creates Companies, and right after each one asks for a Person that refers to it. It returns how many of
// these Persons each decider denies.
func askAboutFresh(p *plane, deciders []*decider) ([]int, error) {
	client, denied := p.client(), make([]int, len(deciders))
	defer client.CloseIdleConnections()
	for number := range freshCompanies {
		for index, decider := range deciders {
			name := fmt.Sprintf("fresh-%s-%d", decider.name, number)
			created, answer, err := p.create(client, company(nil), name, nobody, false)
			if err == nil && !created {
				err = fmt.Errorf("the Company was not created: %s", answer)
			}
			if err != nil {
				return nil, err
			}
			allowed, answer, err := p.create(client, person(name), "", decider.name, true)
			if err == nil && !allowed && !strings.Contains(answer, name) {
				err = fmt.Errorf("%s does not deny because of the Company: %s", decider.shown, answer)
			}
			if err != nil {
				return nil, err
			}
			if !allowed {
				denied[index]++
			}
		}
	}
	return denied, nil
}

// scenario is what is created in a measurement.
type scenario struct {
	name, shown string
	record      record
	// asks says whether the scenario is measured with it; nil is no webhook.
	asks func(*decider) bool
}

func scenarios() []scenario {
	return []scenario{
		{"clean", "a complete Company", company(nil), func(d *decider) bool { return d == nil || d.name != "kyverno-live" }},
		{"reference", "a complete Person with a Company", person("company-0"), func(*decider) bool { return true }},
		{"incomplete", "a Company without a creator, with a domain in upper case", incomplete(),
			func(d *decider) bool { return d != nil && d.changes && d.name != "kyverno-live" }},
	}
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 0 {
		return (sorted[middle-1] + sorted[middle]) / 2
	}
	return sorted[middle]
}
