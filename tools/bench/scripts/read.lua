-- wrk: reads the newest 50 messages of a room with each request.
-- Arguments: file of "ROOM TOKEN" lines.

local requests, count, sent = {}, 0, 0

function init(args)
   for line in io.lines(args[1]) do
      local room, token = line:match("(%S+) (%S+)")
      count = count + 1
      requests[count] = "GET /v1/rooms/" .. room .. "/messages?limit=50 HTTP/1.1\r\nHost: " .. wrk.host .. ":" .. wrk.port
         .. "\r\nAuthorization: Bearer " .. token .. "\r\n\r\n"
   end
end

function request()
   sent = sent + 1
   return requests[sent % count + 1]
end

function done(summary, latency, requests)
   local errors = summary.errors
   io.write(string.format(
      'RESULT {"requests":%d,"micros":%d,"p50":%d,"p99":%d,"max":%d,"refused":%d,"broken":%d}\n',
      summary.requests, summary.duration, latency:percentile(50), latency:percentile(99), latency.max,
      errors.status, errors.connect + errors.read + errors.write + errors.timeout))
end
