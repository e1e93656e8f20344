"""What a trail owes its log group: a line for each event that the trail takes, sent as the trail's role."""

import json
import time

GROUP, ROLE = "crash-trail", "crash-trail"
SETTLE_S = 60


class TrailLines:
    """A log group that a watched trail sends to."""

    def __init__(self, account, trail):
        self.trail = trail
        self.logs, iam = account.client("logs", trail.home), account.client("iam")
        self.logs.create_log_group(logGroupName=GROUP)
        arn = f"arn:aws:logs:{trail.home}:{account.id}:log-group:{GROUP}:*"
        trust = {"Effect": "Allow", "Principal": {"Service": "cloudtrail.amazonaws.com"}, "Action": "sts:AssumeRole"}
        may = {"Effect": "Allow", "Action": ["logs:CreateLogStream", "logs:PutLogEvents"], "Resource": arn}
        document = lambda statement: json.dumps({"Version": "2012-10-17", "Statement": [statement]})  # noqa: E731
        role = iam.create_role(RoleName=ROLE, AssumeRolePolicyDocument=document(trust))["Role"]["Arn"]
        iam.put_role_policy(RoleName=ROLE, PolicyName="send", PolicyDocument=document(may))
        trail.cloudtrail.update_trail(
            Name=trail.trail["TrailARN"], CloudWatchLogsLogGroupArn=arn, CloudWatchLogsRoleArn=role)

    def check(self, calls):
        """What is wrong, once every acknowledged call of the trail has a line."""
        wanted = {call.request_id for call in calls if call.request_id and self.trail.must_have(call)}
        deadline = time.monotonic() + SETTLE_S
        while lost := wanted - self.found():
            if time.monotonic() > deadline:
                return [f"trail's lines: {len(lost)} of {len(wanted)} calls are lost: {sorted(lost)[:5]}"]
            time.sleep(0.5)
        return []

    def found(self):
        pages = self.logs.get_paginator("filter_log_events").paginate(logGroupName=GROUP)
        return {json.loads(event["message"]).get("requestID") for page in pages for event in page["events"]}
