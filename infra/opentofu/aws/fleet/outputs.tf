output "instances" {
  description = "EC2 instance, AMI and address of every machine, by id or id/b."
  value = {
    for key, instance in aws_instance.clawdinator : key => {
      instance_id = instance.id
      ami         = instance.ami
      private_ip  = instance.private_ip
    }
  }
}
