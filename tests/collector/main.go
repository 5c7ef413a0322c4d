// A collector of traces for the end-to-end tests: the OTLP receiver of the OpenTelemetry Collector, which writes what it
// receives as lines of OTLP JSON to standard output.
//
//	collector GRPC-ADDRESS HTTP-ADDRESS
package main

import (
	"context"
	"fmt"
	"os"
	"sync"

	"go.opentelemetry.io/collector/component/componenttest"
	"go.opentelemetry.io/collector/confmap"
	"go.opentelemetry.io/collector/consumer"
	"go.opentelemetry.io/collector/pdata/ptrace"
	"go.opentelemetry.io/collector/receiver/otlpreceiver"
	"go.opentelemetry.io/collector/receiver/receivertest"
)

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: collector GRPC-ADDRESS HTTP-ADDRESS")
		os.Exit(2)
	}
	if err := receive(context.Background(), os.Args[1], os.Args[2]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	// Until it is killed.
	select {}
}

func receive(ctx context.Context, grpc, http string) error {
	factory := otlpreceiver.NewFactory()
	config := factory.CreateDefaultConfig()
	protocols := map[string]any{
		"grpc": map[string]any{"endpoint": grpc},
		"http": map[string]any{"endpoint": http},
	}
	if err := confmap.NewFromStringMap(map[string]any{"protocols": protocols}).Unmarshal(config); err != nil {
		return err
	}
	var line sync.Mutex
	var marshaler ptrace.JSONMarshaler
	lines, err := consumer.NewTraces(func(_ context.Context, traces ptrace.Traces) error {
		text, err := marshaler.MarshalTraces(traces)
		if err != nil {
			return err
		}
		line.Lock()
		defer line.Unlock()
		_, err = os.Stdout.Write(append(text, '\n'))
		return err
	})
	if err != nil {
		return err
	}
	receiver, err := factory.CreateTraces(ctx, receivertest.NewNopSettings(factory.Type()), config, lines)
	if err != nil {
		return err
	}
	return receiver.Start(ctx, componenttest.NewNopHost())
}
