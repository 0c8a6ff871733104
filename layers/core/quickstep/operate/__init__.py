"""What people do to a deployed stack from outside: the work behind the commands `migrate`, `status`, `explain`, … .

Nothing here runs in a Lambda. It uses the same gateways, the same registry and the same decision as the functions do, with
the credentials of whoever runs the command.
"""
