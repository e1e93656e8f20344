// Signs the requests that come as JSON lines with the AWS SDK for Go, and writes what Go would send.
package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

type question struct {
	Method, URL, Service, Secret, Token, Now string
	Headers                                  [][2]string
	Body                                     []byte
	Presign                                  bool
}

type answer struct {
	Method, Target string
	Headers        [][2]string
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func main() {
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 1<<24)
	out := json.NewEncoder(os.Stdout)
	for lines.Scan() {
		var q question
		must(json.Unmarshal(lines.Bytes(), &q))
		must(out.Encode(sign(q)))
	}
}

func sign(q question) answer {
	request, err := http.NewRequest(q.Method, q.URL, bytes.NewReader(q.Body))
	must(err)
	for _, header := range q.Headers {
		request.Header.Add(header[0], header[1])
	}
	at, err := time.Parse("20060102T150405Z", q.Now)
	must(err)
	sum := sha256.Sum256(q.Body)
	hash := hex.EncodeToString(sum[:])
	s3 := q.Service == "s3"
	signer := v4.NewSigner(func(options *v4.SignerOptions) { options.DisableURIPathEscaping = s3 })
	credentials := aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: q.Secret, SessionToken: q.Token}
	target := ""
	if q.Presign {
		if s3 {
			hash = "UNSIGNED-PAYLOAD"
		}
		query := request.URL.Query()
		query.Set("X-Amz-Expires", "300")
		request.URL.RawQuery = query.Encode()
		signed, _, err := signer.PresignHTTP(context.Background(), credentials, request, hash, q.Service, "us-east-1", at)
		must(err)
		sent, err := http.NewRequest(q.Method, signed, nil)
		must(err)
		target = sent.URL.RequestURI()
	} else {
		if s3 {
			request.Header.Set("X-Amz-Content-Sha256", hash)
		}
		must(signer.SignHTTP(context.Background(), credentials, request, hash, q.Service, "us-east-1", at))
		target = request.URL.RequestURI()
	}
	headers := [][2]string{{"Host", request.Host}}
	if len(q.Body) > 0 {
		headers = append(headers, [2]string{"Content-Length", strconv.Itoa(len(q.Body))})
	}
	for name, values := range request.Header {
		for _, value := range values {
			headers = append(headers, [2]string{name, value})
		}
	}
	return answer{q.Method, target, headers}
}
