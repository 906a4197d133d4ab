"""The vendor's own client, unchanged, through everything that people do with it. Asserts; prints a line per flow."""

import datetime
import gzip
import hashlib
import hmac
import http.server
import io
import json
import os
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import msgpack
import tdclient
from tdclient import errors

ENDPOINT = os.environ["SANDBOX"]
ONE, TWO = os.environ["KEY_ONE"], os.environ["KEY_TWO"]
S3, BUCKET = os.environ["S3_ENDPOINT"], os.environ["S3_BUCKET"]
PLATFORM = (os.environ["S3_PLATFORM_KEY"], os.environ["S3_PLATFORM_SECRET"])
AGENT = (os.environ["S3_AGENT_KEY"], os.environ["S3_AGENT_SECRET"])


def client(key=ONE):
    return tdclient.Client(apikey=key, endpoint=ENDPOINT, max_cumul_retry_delay=0)


def raises(kind, call, *args, **kwargs):
    try:
        call(*args, **kwargs)
    except kind as error:
        return str(error)
    raise AssertionError(f"{kind.__name__} expected")


class Receiver:
    """Keeps what is delivered to it."""

    def __init__(self, status=200):
        self.got = []
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def deliver(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append((self.command, self.path, self.headers.get("Authorization"), json.loads(body)))
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_PUT = do_POST = deliver

            def log_message(self, *args):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.at = f"127.0.0.1:{self.server.server_address[1]}"


def read_object(path, keys=AGENT):
    """A GET signed by hand, so that nothing but the protocol is trusted."""
    now = datetime.datetime.now(datetime.timezone.utc)
    day, stamp = now.strftime("%Y%m%d"), now.strftime("%Y%m%dT%H%M%SZ")
    host = S3.split("//")[1]
    uri = "/" + BUCKET + "/" + urllib.parse.quote(path)
    empty = hashlib.sha256(b"").hexdigest()
    names = "host;x-amz-content-sha256;x-amz-date"
    canonical = f"GET\n{uri}\n\nhost:{host}\nx-amz-content-sha256:{empty}\nx-amz-date:{stamp}\n\n{names}\n{empty}"
    scope = f"{day}/us-east-1/s3/aws4_request"
    to_sign = f"AWS4-HMAC-SHA256\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = ("AWS4" + keys[1]).encode()
    for part in (day, "us-east-1", "s3", "aws4_request"):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    signature = hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()
    request = urllib.request.Request(S3 + uri)
    request.add_header("x-amz-date", stamp)
    request.add_header("x-amz-content-sha256", empty)
    request.add_header(
        "Authorization", f"AWS4-HMAC-SHA256 Credential={keys[0]}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read()


def call(method, path, body=None, key=ONE, headers=None):
    """A bare request: status, headers and JSON."""
    request = urllib.request.Request(ENDPOINT + path, data=body, method=method)
    for name, value in (headers or {}).items():
        request.add_header(name, value)
    if key:
        request.add_header("Authorization", "TD1 " + key)
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, answer.headers, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        return error.code, error.headers, json.loads(error.read() or b"null")


def server_status():
    assert client().server_status() == "ok"
    assert tdclient.Client(apikey="none", endpoint=ENDPOINT + "/").server_status() == "ok"


def keys():
    for key in ("", "1/" + "c" * 40, ONE[2:], "TD1", ONE.upper()):
        raises(errors.AuthError, client(key or "x").databases)
    status, _, body = call("GET", "/v3/database/list", key=None)
    assert status == 401 and set(body) >= {"error", "message", "text", "severity", "status_code"}, body


def databases_and_tables():
    with client() as td:
        assert td.create_database("flows")
        raises(errors.AlreadyExistsError, td.create_database, "flows")
        raises(errors.NotFoundError, td.delete_database, "nowhere")
        assert "got 1 characters" in raises(errors.APIError, td.create_database, "a")
        database = td.database("flows")
        assert database.permission and database.count == 0
        assert database.created_at.tzinfo is not None
        for table in ("people", "other"):
            assert td.create_log_table("flows", table)
        raises(errors.AlreadyExistsError, td.create_log_table, "flows", "people")
        raises(errors.NotFoundError, td.create_log_table, "nowhere", "people")
        assert td.update_schema("flows", "people", [["name", "string"], ["n", "long"]])
        assert td.update_expire("flows", "people", 7)
        table = td.table("flows", "people")
        assert [column[:2] for column in table.schema] == [["name", "string"], ["n", "long"]], table.schema
        assert (table.expire_days, table.type, table.count) == (7, "log", 0)
        assert td.swap_table("flows", "people", "other")
        assert td.table("flows", "other").expire_days == 7
        assert td.swap_table("flows", "people", "other")
        assert td.delete_table("flows", "other") == "log"
        raises(errors.NotFoundError, td.delete_table, "flows", "other")
        assert {table.name for table in td.tables("flows")} == {"people"}
        assert call("POST", "/v3/table/create/flows/moved")[0] == 200
        assert call("POST", "/v3/table/rename/flows/moved/moved2")[0] == 200
        assert call("GET", "/v3/table/show/flows/moved2")[2]["name"] == "moved2"
    # Accounts do not see each other.
    with client(TWO) as td:
        assert td.databases() == []
        raises(errors.NotFoundError, td.table, "flows", "people")


def imports():
    rows = [
        {"time": 1440452640, "name": "ada", "n": 1},
        {"time": 1440452641, "name": "it's \U0001f426, \"quoted\"\u2028", "n": -(2**63)},
        {"time": 1440452642, "name": None, "n": 9007199254740993, "extra": 0.1},
    ]
    packed = gzip.compress(b"".join(msgpack.packb(row) for row in rows))
    with client() as td:
        assert td.import_data("flows", "people", "msgpack.gz", packed, len(packed)) >= 0
        for _ in range(3):
            td.import_data("flows", "people", "msgpack.gz", io.BytesIO(packed), len(packed), unique_id="once")
        table = td.table("flows", "people")
        assert table.count == 6, table.count
        assert table.last_log_timestamp.timestamp() == 1440452642
        assert [column[0] for column in table.schema] == ["name", "n", "extra"]
        assert len(td.tail("flows", "people", 2)) == 2
        raises(errors.NotFoundError, td.import_data, "flows", "nowhere", "msgpack.gz", packed, len(packed))
        raises(errors.APIError, td.import_data, "flows", "people", "msgpack.gz", b"no gzip", 7)
        td.import_file("flows", "people", "json", io.BytesIO(b'{"time": 1, "name": "file", "n": 5}\n'))
        assert td.table("flows", "people").count == 7
    status, _, body = call(
        "PUT", "/v3/table/import/flows/people/msgpack.gz", packed, headers={"Content-Type": "application/octet-stream"}
    )
    assert status == 200 and body["md5_hex"] == hashlib.md5(packed).hexdigest(), body


QUERY = "SELECT DISTINCT name, n FROM people WHERE n IS NOT NULL AND name IS NOT NULL ORDER BY n"
EXPECTED = [["it's \U0001f426, \"quoted\"\u2028", -(2**63)], ["ada", 1], ["file", 5]]


def queries():
    with client() as td:
        for kind in ("hive", "presto", "trino"):
            job = td.query("flows", QUERY, type=kind, priority="HIGH", retry_limit=1)
            seen = []
            job.wait(timeout=30, wait_interval=0.1, wait_callback=lambda job: seen.append(job.status()))
            assert job.success() and job.finished() and not job.error(), job.debug
            job = td.job(job.id)
            assert job.type == kind and job.status() == "success" and job.num_records == 3
            found = (job.priority, job.retry_limit, job.database, job.query)
            assert found == ("HIGH", 1, "flows", QUERY), found
            text = "string" if kind == "hive" else "varchar"
            assert job.result_schema == [["name", text], ["n", "bigint"]], job.result_schema
            assert job.linked_result_export_job_id is None and job.result_url is None
            assert td.job_result(job.id) == EXPECTED
            assert list(job.result_format("json")) == EXPECTED
            assert list(td.job_result_format_each(job.id, "msgpack", store_tmpfile=True)) == EXPECTED
            packed = call("GET", f"/v3/job/show/{job.id}")[2]["result_size"]
            assert packed == job.result_size > 0
        for form, header in (("csv", True), ("tsv", False)):
            path = f"/v3/job/result/{job.id}?format={form}&header={header}"
            request = urllib.request.Request(ENDPOINT + path, headers={"Authorization": "TD1 " + ONE})
            text = urllib.request.urlopen(request, timeout=10).read().decode()
            lines = text.split("\n")
            assert (lines[0] == "name,n") == header, text
            assert ("ada,1" in lines) if form == "csv" else ("ada\t1" in lines), text
        return job.id


def ranges(job_id):
    path = f"{ENDPOINT}//v3/job/result/{job_id}?format=msgpack.gz"
    ask = lambda **headers: urllib.request.urlopen(
        urllib.request.Request(path, headers={"Authorization": "TD1 " + ONE, **headers}), timeout=10
    )
    whole = ask()
    tag, body = whole.headers["ETag"], whole.read()
    assert whole.headers["Content-Encoding"] is None and int(whole.headers["Content-Length"]) == len(body)
    part = ask(Range="bytes=5-", **{"If-Range": tag})
    assert part.status == 206 and part.headers["Content-Range"] == f"bytes 5-{len(body) - 1}/{len(body)}"
    assert body[:5] + part.read() == body
    assert ask(Range="bytes=5-", **{"If-Range": '"other"'}).status == 200
    try:
        ask(Range=f"bytes={len(body)}-")
        raise AssertionError("416 expected")
    except urllib.error.HTTPError as error:
        assert error.code == 416


def lists_kills_and_keys():
    slow = "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t"
    with client() as td:
        job = td.query("flows", slow, type="presto", domain_key="a-key")
        other = raises(errors.AlreadyExistsError, td.query, "flows", slow, type="presto", domain_key="a-key")
        assert json.loads(other[other.index("{") :])["details"]["conflicts_with"] == job.id, other
        assert call("GET", "/v3/job/status_by_domain_key/a-key")[2]["job_id"] == job.id
        assert call("GET", "/v3/job/status_by_domain_key/none")[0] == 404
        assert td.kill(job.id) in ("queued", "running")
        assert td.job_status(job.id) == "killed" and td.kill(job.id) == "killed"
        raises(errors.NotFoundError, td.job, "999999")
        raises(errors.NotFoundError, td.job, "abc")
        raises(errors.NotFoundError, td.job_result, job.id)
        newest = td.jobs(0, 1)
        assert len(newest) == 2 and int(newest[0].id) > int(newest[1].id)
        assert newest[0].id == job.id
        assert all(job.status() == "killed" for job in td.jobs(status="killed"))
        broken = td.query("flows", "SELECT * FROM nowhere", type="hive")
        broken.wait(timeout=30, wait_interval=0.1)
        assert broken.error() and "nowhere" in broken.debug["stderr"]
        fenced = td.query("flows", "ATTACH '/etc/passwd' AS x")
        fenced.wait(timeout=30, wait_interval=0.1)
        assert fenced.error() and "not allowed" in fenced.debug["stderr"]
    with client(TWO) as td:
        raises(errors.NotFoundError, td.job, job.id)
        assert td.jobs() == []


def outputs():
    receiver, grumpy = Receiver(), Receiver(status=503)
    with client() as td:
        url = f"web://user:p%2Fw@{receiver.at}/landing/x?method=post"
        job = td.query("flows", QUERY, type="presto", result_url=url)
        job.wait(timeout=30, wait_interval=0.1)
        assert job.success(), job.debug
        (method, path, login, body) = receiver.got[0]
        assert (method, path, login) == ("POST", "/landing/x", "Basic dXNlcjpwL3c=")
        assert body["column_names"] == ["name", "n"] and body["column_types"] == ["string", "long"]
        assert body["data"] == EXPECTED and len(receiver.got) == 1
        job = td.job(job.id)
        assert "p%2Fw" not in str(vars(job)) and job._result_url is None
        shown = call("GET", f"/v3/job/show/{job.id}")[2]
        assert "user:***@" in shown["result"] and "p%2Fw" not in json.dumps(shown)
        export = td.job(job.linked_result_export_job_id)
        assert export.type == "result_export" and export.success()
        assert str(export.result_export_target_job_id) == job.id

        job = td.query("flows", QUERY, type="hive", result_url=f"web://{grumpy.at}/")
        job.wait(timeout=30, wait_interval=0.1)
        assert job.error() and "503" in job.debug["stderr"], job.debug
        assert td.job(job.linked_result_export_job_id).error()

        secret = urllib.parse.quote(PLATFORM[1], safe="")
        to = f"s3://{PLATFORM[0]}:{secret}@/{BUCKET}/flows/a%20b.tsv.gz?format=tsv&compression=gz&newline=LF"
        to += "&null=%5CN&region=us-east-1&endpoint=" + urllib.parse.quote(S3, safe="")
        job = td.query("flows", "SELECT name, extra FROM people WHERE n > 9 LIMIT 1", type="trino", result_url=to)
        job.wait(timeout=30, wait_interval=0.1)
        assert job.success(), job.debug
        assert gzip.decompress(read_object("flows/a b.tsv.gz")) == b"name\textra\n\\N\t0.1\n"

        job = td.query("flows", QUERY, type="presto", result_url="td://@/flows/copy?mode=replace")
        job.wait(timeout=30, wait_interval=0.1)
        assert job.success() and td.table("flows", "copy").count == 3

        for bad in ("nonsense", "ftp://h/x", "web://", "s3://bucket/x", "postgresql://h", "nobody:table",
                    "web://example.com/x", "web://10.0.0.1/x", "td://" + "0" * 40 + "@/flows/t"):
            error = raises(errors.APIError, td.query, "flows", QUERY, type="presto", result_url=bad)
            assert error.startswith("422"), error

        # Exported once more, from what is kept.
        status, _, body = call(
            "POST", f"/v3/job/result_export/{job.id}", json.dumps({"result": f"web://{receiver.at}/again"}).encode(),
            headers={"Content-Type": "application/json"},
        )
        assert status == 201, body
        again = td.job(body["job_id"])
        again.wait(timeout=30, wait_interval=0.1)
        assert again.success() and receiver.got[-1][1] == "/again" and receiver.got[-1][3]["data"] == EXPECTED
        return receiver


def connections(receiver):
    with client() as td:
        assert td.create_result("receiver", f"web://user:secret@{receiver.at}/saved")
        raises(errors.AlreadyExistsError, td.create_result, "receiver", "web://h/")
        raises(errors.APIError, td.create_result, "ab", "web://h/")
        (saved,) = td.results()
        assert saved.name == "receiver" and "secret" not in saved.url and saved.url.startswith("web://user:")
        job = td.query("flows", QUERY, type="presto", result_url="receiver:rest?method=post")
        job.wait(timeout=30, wait_interval=0.1)
        assert job.success() and receiver.got[-1][:2] == ("POST", "/saved/rest")
        assert td.delete_result("receiver")
        raises(errors.NotFoundError, td.delete_result, "receiver")


def schedules(receiver):
    with client() as td:
        saved = {"type": "presto", "query": QUERY, "database": "flows", "result": f"web://user:secret@{receiver.at}/s"}
        start = td.create_schedule("nightly", {**saved, "cron": "30 4 * * *", "timezone": "Asia/Tokyo", "delay": 60})
        assert start > datetime.datetime.now(datetime.timezone.utc), start
        assert (start.hour, start.minute) == (19, 30), start
        td.create_schedule("by_hand", {**saved, "cron": "", "result": "", "type": "hive"})
        raises(errors.AlreadyExistsError, td.create_schedule, "nightly", {**saved, "cron": "@daily"})
        for bad in ({"cron": "every day"}, {"timezone": "Mars"}, {"result": "ftp://h/x"}, {"type": "pig"}, {"query": ""},
                    {"engine_version": "newest"}, {"priority": 3}, {"retry_limit": -1}):
            error = raises(errors.APIError, td.create_schedule, "bad", {**saved, "cron": "@daily", **bad})
            assert error.startswith("422"), (bad, error)
        raises(errors.NotFoundError, td.create_schedule, "bad", {**saved, "cron": "@daily", "database": "nowhere"})
        by_hand, nightly = td.schedules()
        assert (by_hand.name, by_hand.cron, by_hand.result_url) == ("by_hand", None, ""), vars(by_hand)
        assert (nightly.cron, nightly.timezone, nightly.delay) == ("30 4 * * *", "Asia/Tokyo", 60), vars(nightly)
        assert (nightly.type, nightly.database, nightly.user_name) == ("presto", "flows", "Account 1"), vars(nightly)
        assert nightly.result_url == f"web://user:***@{receiver.at}/s" and nightly.next_time == start, vars(nightly)
        assert by_hand.next_time is None or by_hand.next_time.year == 1970
        td.update_schedule("nightly", {"cron": "0 * * * *", "name": "hourly"})
        (_, hourly) = td.schedules()
        assert (hourly.name, hourly.cron, hourly.delay, hourly.query) == ("hourly", "0 * * * *", 60, QUERY), vars(hourly)
        assert hourly.next_time.minute == 0
        raises(errors.NotFoundError, td.update_schedule, "nightly", {"cron": "0 * * * *"})
        assert td.delete_schedule("hourly") == ("0 * * * *", QUERY)
        raises(errors.NotFoundError, td.delete_schedule, "hourly")
        assert td.delete_schedule("by_hand") == (None, QUERY) and td.schedules() == []
    with client(TWO) as td:
        assert td.schedules() == []


def refused(call, *args):
    try:
        call(*args)
    except urllib.error.HTTPError as error:
        return error.code
    return 200


def bucket_faults():
    """The agent can be cut off from the bucket without the platform, and both at once."""
    secret, path = urllib.parse.quote(PLATFORM[1], safe=""), "flows/faults.csv"
    url = f"s3://{PLATFORM[0]}:{secret}@/{BUCKET}/{path}?endpoint=" + urllib.parse.quote(S3, safe="")
    assert refused(read_object, path, ("SOMEBODY", "else")) == 403
    assert refused(read_object, path, (AGENT[0], "wrong")) == 403
    with client() as td:
        for kind, by_agent, by_platform, success in (("agent-blind", 403, 200, True), ("target-down", 503, 503, False)):
            body = json.dumps({"kind": kind, "where": {"target": "bucket"}}).encode()
            fault = call("POST", "/sandbox/faults", body, headers={"Content-Type": "application/json"})[2]["id"]
            job = td.query("flows", QUERY, type="hive", result_url=url)
            job.wait(timeout=30, wait_interval=0.1)
            assert job.success() == success, job.debug
            assert (refused(read_object, path), refused(read_object, path, PLATFORM)) == (by_agent, by_platform), kind
            assert len(call("GET", "/sandbox/faults")[2]["faults"]) == 1
            assert call("DELETE", f"/sandbox/faults/{fault}")[0] == 200
            assert read_object(path).startswith(b"name,n\r\n")


def bodies():
    """The four encodings that clients use."""
    form = urllib.parse.urlencode({"query": "select 1", "priority": "", "retry_limit": "", "type": "presto"}).encode()
    for body, kind, query in (
        (form, "application/x-www-form-urlencoded", ""),
        (json.dumps({"query": "select 1", "priority": 0}).encode(), "application/json; charset=utf-8", ""),
        (b"", None, "?" + form.decode()),
    ):
        headers = {"Content-Type": kind} if kind else {}
        status, _, answer = call("POST", "/v3/job/issue/presto/flows" + query, body, headers=headers)
        assert status == 200 and answer["job_id"] == answer["job"], answer
    assert call("POST", "/v3/job/issue/presto/flows", form, headers={"Content-Type": "text/plain"})[0] == 415
    assert call("POST", "/v3/job/issue/presto/flows", b"{", headers={"Content-Type": "application/json"})[0] == 400
    for extra in ("priority=9", "retry_limit=99", "engine_version=oops", "query="):
        assert call("POST", "/v3/job/issue/presto/flows?query=select+1&" + extra)[0] == 422, extra
    assert call("POST", "/v3/job/issue/presto/nowhere?query=select+1")[0] == 404
    assert call("POST", "/v3/job/issue/impala/flows?query=select+1")[0] == 422


def main():
    job_id = None
    for flow in (server_status, keys, databases_and_tables, imports):
        flow()
        print("ok", flow.__name__, flush=True)
    job_id = queries()
    ranges(job_id)
    print("ok queries, ranges", flush=True)
    lists_kills_and_keys()
    print("ok lists_kills_and_keys", flush=True)
    receiver = outputs()
    connections(receiver)
    schedules(receiver)
    print("ok outputs, connections, schedules", flush=True)
    bucket_faults()
    bodies()
    print("ok bucket_faults, bodies", flush=True)
    with client() as td:
        assert td.delete_database("flows")
    print("all flows passed", flush=True)


main()
