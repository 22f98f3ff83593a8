// Go's os/exec, with C goroutines that each run one command at a time: peer W1|W2 N C CHILD.
// Prints microseconds for each command: wall, CPU of this process.
package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func cpu() time.Duration {
	var usage syscall.Rusage
	must(syscall.Getrusage(syscall.RUSAGE_SELF, &usage))
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

func run(program string, captures bool) {
	command := exec.Command(program)
	var stdout, stderr bytes.Buffer
	if captures {
		command.Stdout, command.Stderr = &stdout, &stderr
	}
	must(command.Run())
	if captures && (stdout.Len() != 100 || stderr.Len() != 20) {
		panic("output was lost")
	}
}

func main() {
	count, err := strconv.ParseInt(os.Args[2], 10, 64)
	must(err)
	atOnce, err := strconv.Atoi(os.Args[3])
	must(err)
	captures, program := os.Args[1] == "W2", os.Args[4]
	used, since := cpu(), time.Now()
	var next int64
	var group sync.WaitGroup
	for i := 0; i < atOnce; i++ {
		group.Add(1)
		go func() {
			defer group.Done()
			for atomic.AddInt64(&next, 1) <= count {
				run(program, captures)
			}
		}()
	}
	group.Wait()
	each := func(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 / float64(count) }
	fmt.Printf("%.2f %.2f\n", each(time.Since(since)), each(cpu()-used))
}
